//! The page in a real browser.

mod common;

use std::{fs, path::Path, process::Command, sync::Arc, sync::atomic::AtomicBool, time::Duration};

use serde_json::Value;
use weir_loadgen::{
    origin::{Options as OriginOptions, spawn},
    output::page,
    run::{Limit, Load, Options, run},
    scenario::Scenario,
};

const SCENARIO: &str = "
[[request]]
label = \"page\"
weight = 5
target = \"/?size=2000\"
[[request]]
label = \"attack\"
target = \"/?status=403\"
expect = \"block\"
";

/// Tells what was drawn, in place of a person who looks.
const PROBE: &str = r#"<pre id="probe"></pre><script>
const boxes = selector => [...document.querySelectorAll(selector)].map(element => { const box = element.getBBox(); return [box.width, box.height]; });
const outside = [...document.querySelectorAll("svg text")].filter(text => {
  const inner = text.getBoundingClientRect(), outer = text.ownerSVGElement.getBoundingClientRect();
  return inner.left < outer.left - 1 || inner.right > outer.right + 1;
}).map(text => text.textContent);
const overflow = width => { document.body.style.width = width; return document.querySelector("main").scrollWidth; };
document.getElementById("probe").textContent = JSON.stringify({
  lines: boxes("path.line"), bars: boxes("rect.bar"), outside, narrow: overflow("360px"), wide: overflow("1000px"),
});
</script>"#;

fn browser() -> Command {
    let found = ["chromium", "chromium-headless-shell"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    Command::new(found.expect("chromium is installed (make deps)"))
}

/// What the browser prints: the page as it was at the end, and its log.
fn open(folder: &Path, html: &str) -> (String, String) {
    let file = folder.join("page.html");
    fs::write(&file, html).unwrap();
    let output = browser()
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).into()
}

#[test]
fn plots_have_content_and_the_console_is_silent() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let report = |rate: f64| {
        let mut options = Options::new(&format!("http://{}/", origin.address()));
        options.scenario = Some(Arc::new(Scenario::parse(SCENARIO, Path::new(".")).unwrap()));
        (options.load, options.interval) = (Load::Rate(rate), Duration::from_millis(25));
        options.limit = Limit::Requests(rate as u64 / 2);
        serde_json::to_value(run(&options, &AtomicBool::new(false)).unwrap()).unwrap()
    };
    let (before, mut after) = (report(200.0), report(400.0));
    after["valid"] = Value::Bool(false);
    let html = page(&[("before".to_owned(), before), ("after".to_owned(), after)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (dom, log) = open(folder.path(), &html);
    assert!(dom.contains("<h1>Comparison</h1>"), "{dom}\n{log}");
    // Each of the four bars beside another report says that it isn't valid.
    assert!(dom.matches(" NOT VALID</text>").count() >= 4 && dom.contains("after (NOT VALID)"), "{dom}");
    assert!(!log.contains("CONSOLE"), "{log}");

    // The policy forbids scripts, this one too.
    let policy = html.find("<meta http-equiv").unwrap();
    let policy_end = policy + html[policy..].find('>').unwrap() + 1;
    let probing =
        format!("{}{}", &html[..policy], &html[policy_end..]).replace("</body>", &format!("{PROBE}</body>"));
    let (dom, log) = open(folder.path(), &probing);
    let (_, found) = dom.split_once("<pre id=\"probe\">").expect(&log);
    let found: Value = serde_json::from_str(found.split_once("</pre>").unwrap().0).expect(&log);
    let boxes = |name: &str| -> Vec<(f64, f64)> { serde_json::from_value(found[name].clone()).unwrap() };
    // The curves of both, and for each 3 by quantile, 2 by label, 2 rates and 4 times.
    assert_eq!(boxes("lines").len(), 2 + 2 * (3 + 2 + 2 + 4), "{found}");
    assert!(boxes("lines").iter().all(|(width, _)| *width > 50.0), "{found}");
    assert!(boxes("lines").iter().filter(|(_, height)| *height > 5.0).count() > 4, "{found}");
    assert_eq!(boxes("bars").len(), 8, "{found}");
    // Beside one that a pause of the machine made long, others are short.
    assert!(boxes("bars").iter().all(|(width, height)| *width > 0.0 && *height > 1.0), "{found}");
    assert_eq!(found["outside"], Value::Array(Vec::new()), "texts beyond their plots");
    assert!(found["narrow"].as_f64().unwrap() <= 360.0, "it is wider than a narrow screen: {found}");
    assert!(found["wide"].as_f64().unwrap() <= 1000.0, "{found}");
}
