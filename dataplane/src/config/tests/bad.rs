//! Configs that are wrong, and what is said about them.

use super::*;

/// Error lines of a config whose text follows [`MINIMAL`], which ends on line 10.
fn errors_after_minimal(text: &str) -> Vec<String> {
    Folder::new(&format!("{MINIMAL}{text}")).error_lines()
}

#[test]
fn probe() {
    for text in [
        "[node]\nworkres = 2\nworkers = 5000\nmax_connections = \"x\"\nio=\"monoio\"\nkeep_alive_timeout='3s'\nfoo=1\ndrain_timeout=30\nstate_dir=''\n",
        "[http]\nmode='blok'\nreal_ip_header='a b'\ntrusted_proxies=['10.0.0.0/33', 5, '::1']\napplication=0\ndisable_acl=1\nmode_by_header={header='x', contains={}}\n[http.limits]\nhead_bytes='64KB'\ntarget_bytes='1MiB'\nparked_bytes='2KiB'\nbody_timeout='0'\nhead_timeout='1m30s'\nheader_count=-1\n",
        "a = \nb = 'x\n[node]\nworkers='x'\nzz=1\n[http]\nmode=block\n[http]\n",
        "[[listener]]\nname='public'\naddress='127.0.0.1'\nproxy_protocol=true\ntls={}\n[[listener]]\nname='x'\naddress='unix:/run/x'\n[[listener]]\naddress='127.0.0.1:80'\n[[listener]]\nname='z'\naddress='127.0.0.1:80'\n",
        "[[server]]\nname='a'\norigin='ap'\nhosts=['h:80','http://x','*','*x','a..b','ü','[::1]','[x]', 'A.example', 'a.example.']\ndefault=true\n[[server]]\nname='c'\ndefault=true\norigin='zzzzzz'\n[[server.location]]\npath='x'\nmatch='prefixx'\nblock_response={}\n[[server.location]]\nmatch='regex'\npath='x'\nlimits={head_bytes='1KiB'}\n[[server.location]]\nmatch='prefix_final'\npath='/x'\n[[server.location]]\npath='/x'\n[[server.location]]\n",
        "[[origin]]\nname='app'\naddresses=[]\n[[origin]]\nname='b'\naddresses=['127.0.0.1','http://x:1','::1:80','x:0','x:99999','unix:/x','[127.0.0.1]:1','no-such-host.invalid:80', 7]\nbalance='random'\n[origin.tls]\nrequire_mtls=true\nserver_name='a b'\n[[origin]]\nname='c'\naddresses=['127.0.0.1:1','127.0.0.2:1']\ntls={client_certificate='edge'}\n[[client_certificate]]\nname='edgy'\ncertificate='x'\n[[client_certificate]]\nname='edgy'\ncertificate='x'\nprivate_key=''\n",
        "[detection]\nbody_limit='2GiB'\ntime_limit=1\nmin_score=0\nover_body_limit='drop'\nsignatures=['none', 5]\n[rules]\nfile='none.toml'\n[ip_lists]\nfile='.'\n[events]\nqueue_length=1\n[admin]\naddress='0.0.0.0:9901'\ntoken_flie='x'\n",
        "[admin]\naddress='0.0.0.0:9901'\ntoken_file='x'\n",
        "[admin]\n",
        "admin=5\n",
        "server=5\n",
    ] {
        for line in errors_after_minimal(text) {
            eprintln!("{line}");
        }
        eprintln!();
    }
    for line in Folder::new("").error_lines() {
        eprintln!("{line}");
    }
    let f = Folder::new(&format!("rules.file='r'\nip_lists.file='l'\n{MINIMAL}"));
    f.write("r", "general_mode='on'\nrules=1\n[[rule]]\nid=1\ntype='mode'\nmode='x'\nfoo=1\n[[rule]]\nid=1\ntype='mask'\npoint=['x']\n[[rule]]\nid=1\ntype='mode'\nmode='off'\n[[rule]]\ntype='mod'\n[[rule]]\ntype='zzzzzzz'\n[[rule]]\n[[rule.when]]\npoint=['path']\n[[rule.when]]\npoint=['path', 300]\nis='absent'\nvalue='x'\n[[rule.when]]\npoint=['pth', 0]\nis='equals'\nvalue=5\n[[rule.when]]\npoint=['header']\nis='regex'\nvalue=''\n[[rule.when]]\npoint=['method', 'x', 'y']\nis='equal'\n");
    f.write("l", "[[entry]]\nlist='black'\naddress='x'\n[[entry]]\nlist='deny'\naddress='1.2.3.4'\nexpires='2030-01-01T00:00:00'\napplications=['a']\n[[entry]]\nexpires=1969-01-01T00:00:00Z\n[[entry]]\nlist='deny'\naddress='1.2.3.4'\nexpires='2030-13-01T00:00:00Z'\nreason=''\n");
    for line in f.error_lines() {
        eprintln!("{line}");
    }
}
