"""The table and the plot."""

import math
from html import escape

import generator_cost

HEADER = ["", "connections", "CPU us/request", "x first", "p10-p90", "requests/s", "p50", "p99", "MiB"]

# The plot, in pixels.
LEFT, RIGHT, ROW, TOP = 250, 90, 18, 64
WIDTH = 900
COLOURS = {"weir": "#1f6feb", "weir-inspecting": "#0b3d91"}
OTHERS = "#8c959f"


def table(facts, results):
    machine = facts["machine"]
    cpus = facts["cpus"]
    lines = [
        f"# Weir and its peers, {facts['started'][:10]}",
        "",
        f"{machine['cpu']}, {machine['usable_cpus']} usable CPUs"
        + (" of a virtual machine" if machine["hypervisor"] else "")
        + f", Linux {machine['kernel']}, {machine['system']}; load average {machine['load_average_at_start'][0]:.1f} at the"
        f" start and {facts['load_average_at_end'][0]:.1f} at the end; a {facts['duration']} run.",
        "",
    ]
    if cpus["proxies"] is None:
        lines += ["**Everything ran on one CPU.**", ""]
    else:
        lines += [
            f"Each proxy has one worker on CPU {cpus['proxies']}; load and origin share CPU {cpus['load_and_origin']}. "
            "`x first` is CPU time per request as a share of the first line's in the same round: the figure to look at, "
            "below 1 is cheaper. Memory is of all processes, shared pages counted for each.",
            "",
        ]
    for result in results:
        lines += section(result)
    lines += ["## What took part", ""]
    for name, peer in facts["peers"].items():
        packages = ", ".join(f"{package} {version}" for package, version in peer["packages"].items())
        lines.append(f"- {name}: {peer['says']}" + (f" ({packages})" if packages else ""))
    lines += [f"- {name}: left out, {why}" for name, why in facts["left_out"].items()]
    if "agreement" in facts:
        lines += ["", "## Can the generator be trusted?", "", *agreement(facts["agreement"])]
    if "generator_cost" in facts:
        lines += ["", generator_cost.sentences(facts["generator_cost"])]
    lines += ["", "Digests of binaries, configs and traffic are in `environment.json`, every slice in the other files.", ""]
    return "\n".join(lines)


def section(result):
    workload = result["workload"]
    lines = [f"## {workload.title}", ""]
    rows = [row for measured in result["tables"] for row in rows_of(measured)]
    if rows:
        lines += ["| " + " | ".join(HEADER) + " |", "|" + " --- |" * len(HEADER)]
        lines += [*("| " + " | ".join(row) + " |" for row in rows), ""]
    remarks = [*workload.notes]
    if result["absent"]:
        remarks.append(f"Not in it, because it can't do this or isn't installed: {', '.join(result['absent'])}.")
    remarks += [f"**Not valid:** {reason}" for reason in result["reasons"]]
    remarks += [f"Note: {note}" for note in merged(result["notes"])]
    for remark in remarks:
        lines += [remark, ""]
    return lines


def merged(notes):
    """Notes that many rows share, once each, with the rows."""
    rows = {}
    for note in notes:
        row, _, what = note.partition(": ")
        # Percentages differ from row to row; the sentence doesn't.
        rows.setdefault("".join("N" if letter.isdigit() else letter for letter in what), (what, []))[1].append(row)
    return [f"{what} ({', '.join(names)})" for what, names in rows.values()]


def rows_of(measured):
    for target in measured["targets"]:
        cpu, ratio = target["cpu_microseconds_per_answer"], target["cpu_ratio"]
        yield [
            target["name"],
            str(measured["connections"]),
            significant(cpu["median"]) if cpu else "-",
            significant(ratio["median"]) if ratio else "-",
            f"{significant(ratio['p10'])}-{significant(ratio['p90'])}" if ratio else "-",
            f"{target['rate']['median']:,.0f}",
            time(target["latency"]["p50"]),
            time(target["latency"]["p99"]),
            f"{target['resident_bytes'] / 2**20:.0f}",
        ]


def agreement(found):
    lines = [
        f"{found['rounds']} turns of {found['seconds']} s for each tool against nginx, {found['connections']} connections, "
        "medians with the least and the most:",
        "",
        "| tool | requests/s | median latency, ms |",
        "| --- | --- | --- |",
    ]
    for name, tool in found["tools"].items():
        cells = [
            f"{figure['median']:.4g} ({figure['low']:.4g}-{figure['high']:.4g})" if figure else "not given"
            for figure in (tool["rate"], tool["median_milliseconds"])
        ]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return [*lines, "", f"{found['verdict']}."]


def significant(value):
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def time(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds} ns"


def plot(facts, results):
    """Bars of CPU time per request as a share of the first peer's, on a logarithmic scale, p10 to p90 as whiskers."""
    groups = []
    for result in results:
        for measured in result["tables"]:
            title = f"{result['workload'].title}, {measured['connections']} connections"
            # Without an answer in any slice there is no figure, and one of 0, of slices that were too short, has no place
            # on a logarithmic scale.
            shown = [target for target in measured["targets"] if target["cpu_ratio"] and target["cpu_ratio"]["median"] > 0]
            groups.append((title, shown))
    ratios = [ratio for _, targets in groups for target in targets for ratio in bounds(target) if ratio > 0]
    if not ratios:
        return svg(80, [text(16, 40, "nothing was measured")])
    low = 2 ** math.floor(math.log2(min(ratios)))
    high = 2 ** math.ceil(math.log2(max(ratios)))
    if low == high:
        high *= 2

    def across(value):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(max(value, low) / low) / math.log2(high / low)

    height = TOP + sum(ROW * (len(targets) + 2) for _, targets in groups) + 10
    parts = [
        text(16, 24, "CPU time per request, as a share of the first of each group; further left is cheaper", size=15),
        text(16, 44, f"{facts['machine']['cpu']}, {facts['started'][:10]}; whiskers from the 10th to the 90th percentile"),
    ]
    tick = low
    while tick <= high:
        x = across(tick)
        parts.append(line(x, TOP, x, height - 10, "#1b1f24" if tick == 1 else "#d0d7de"))
        parts.append(text(x, TOP - 4, f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}", anchor="middle", size=11))
        tick *= 2
    y = TOP
    for title, targets in groups:
        y += ROW
        parts.append(text(16, y + 4, title, weight="bold"))
        for target in targets:
            y += ROW
            ratio = target["cpu_ratio"]
            colour = COLOURS.get(target["name"], OTHERS)
            start, end = sorted((across(1), across(ratio["median"])))
            parts.append(text(LEFT - 8, y + 4, target["name"], anchor="end"))
            parts.append(f'<rect x="{start:.1f}" y="{y - 6}" width="{max(end - start, 2):.1f}" height="12" fill="{colour}"/>')
            parts.append(line(across(ratio["p10"]), y, across(ratio["p90"]), y, "#cf222e"))
            right = max(across(ratio["p90"]), end, across(1)) + 6
            parts.append(text(right, y + 4, significant(ratio["median"]), size=11))
        y += ROW
    return svg(height, parts)


def bounds(target):
    return target["cpu_ratio"]["p10"], target["cpu_ratio"]["median"], target["cpu_ratio"]["p90"]


def svg(height, parts):
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def text(x, y, words, anchor="start", size=12, weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="#1b1f24">'
        f"{escape(words)}</text>"
    )


def line(x1, y1, x2, y2, colour):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
