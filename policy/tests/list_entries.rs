//! Which entries of the lists are about a client, and why all but one don't count.

mod common;

use common::*;
use weir_policy::*;

const CLIENT: &str = "10.1.1.1";

fn entry(list: List, address: &str) -> ListEntry {
    ListEntry { list, address: address.parse().unwrap(), applications: vec![], expires: None, reason: None }
}

/// Places by mode, one of them without lists, in a server whose lists are `lists`.
fn source(lists: Vec<ListEntry>) -> PolicySource {
    let without_lists = LocationSource {
        context: ContextSource { disable_acl: Some(true), ..ContextSource::default() },
        ..location("/free", None, None)
    };
    let places = Mode::ALL.map(|mode| location(&format!("/{mode}"), Some(mode), None));
    PolicySource {
        servers: vec![server(
            "s",
            context(Some(Mode::SafeBlocking), None),
            places.into_iter().chain([without_lists]).collect(),
        )],
        lists,
        ..PolicySource::default()
    }
}

/// Each entry as `name: why`, a winner with a star.
fn told(policy: &Policy, path: &str, client: &Client) -> Vec<String> {
    let explained = policy.explain_client(&get("s", path), client, NOW);
    assert_eq!(explained.list_entry_count, explained.list_entries.len());
    let winner = explained.list_entries.iter().find(|covering| covering.wins);
    assert_eq!(winner.map(|covering| &covering.entry), explained.list_entry.as_ref());
    let told = explained.list_entries.iter().map(|covering| {
        format!("{}{}: {}", if covering.wins { "*" } else { "" }, covering.entry, covering.why)
    });
    told.collect()
}

#[test]
fn each_entry_that_loses_says_why() {
    let lists = vec![
        entry(List::Gray, "10.0.0.0/8"),
        entry(List::Deny, "10.1.1.1/32"),
        entry(List::Deny, "10.1.0.0/16"),
        entry(List::Allow, "11.0.0.0/8"),
        ListEntry { expires: Some(NOW), ..entry(List::Allow, "10.1.1.0/24") },
        ListEntry { applications: vec![4, 5], ..entry(List::Allow, "10.0.0.0/9") },
    ];
    let policy = policy(&source(lists));
    let client = Client::from(CLIENT.parse::<std::net::IpAddr>().unwrap());
    let expected = [
        "*deny 10.1.1.1/32: no entry of the allow list holds for this client, and deny goes before gray",
        "allow 10.1.1.0/24: it has expired",
        "deny 10.1.0.0/16: `deny 10.1.1.1/32` of the same list counts already",
        "allow 10.0.0.0/9: it is for application 4, 5, and this is application -1",
        "gray 10.0.0.0/8: the deny list goes before the gray list, and `deny 10.1.1.1/32` holds for this client",
    ];
    assert_eq!(told(&policy, "/", &client), expected);
    for (path, reason) in [
        ("/off", "no list is read where the mode is off"),
        ("/free", "location /free has disable_acl, so no list is read"),
    ] {
        let told = told(&policy, path, &client);
        let named: Vec<&String> = told.iter().filter(|line| line.ends_with(reason)).collect();
        assert_eq!((told.len(), named.len()), (5, 3), "{path}: {told:#?}");
    }
}

#[test]
fn gray_is_read_in_safe_blocking_alone() {
    let policy = policy(&source(vec![entry(List::Gray, "10.0.0.0/8")]));
    let client = Client::from(CLIENT.parse::<std::net::IpAddr>().unwrap());
    assert!(told(&policy, "/safe_blocking", &client)[0].starts_with("*gray"));
    for mode in ["monitoring", "block"] {
        let reason =
            format!("gray 10.0.0.0/8: the gray list is read in safe_blocking alone, and the mode is {mode}");
        assert_eq!(told(&policy, &format!("/{mode}"), &client), [reason]);
    }
}

#[test]
fn entries_about_what_a_client_is_are_told_of_too() {
    let about = |list, attribute, name: &str| AttributeEntry {
        list,
        attribute,
        name: name.to_owned(),
        applications: vec![],
        expires: None,
        reason: None,
    };
    let source = PolicySource {
        attribute_lists: vec![
            about(List::Deny, Attribute::Proxy, "tor"),
            about(List::Allow, Attribute::Country, "NL"),
            about(List::Deny, Attribute::Country, "DE"),
        ],
        ..source(vec![entry(List::Deny, CLIENT_NETWORK)])
    };
    let policy = policy(&source);
    let name = |attribute, name| policy.attribute_name(attribute, name).unwrap_or_default();
    let mut client = Client::from(CLIENT.parse::<std::net::IpAddr>().unwrap());
    client.attributes.proxies[0] = name(Attribute::Proxy, "tor");
    client.attributes.country = name(Attribute::Country, "NL");
    let before = "the allow list goes before the deny list, and `allow country NL` holds for this client";
    let expected = [
        "*allow country NL: the allow list goes before the others".to_owned(),
        format!("deny 10.0.0.0/8: {before}"),
        format!("deny proxy tor: {before}"),
    ];
    assert_eq!(told(&policy, "/", &client), expected);
}

const CLIENT_NETWORK: &str = "10.0.0.0/8";

#[test]
fn of_many_entries_the_first_are_shown() {
    let mut lists = vec![entry(List::Deny, "10.0.0.0/8"); LIST_ENTRIES_SHOWN_MAX + 5];
    lists.push(entry(List::Allow, "10.0.0.0/8"));
    let policy = policy(&source(lists));
    let explained = policy.explain(&get("s", "/"), CLIENT.parse().unwrap(), NOW);
    assert_eq!(explained.list_entry_count, LIST_ENTRIES_SHOWN_MAX + 6);
    assert_eq!(explained.list_entries.len(), LIST_ENTRIES_SHOWN_MAX);
    assert!(explained.list_entries[0].wins && explained.list_entries[0].entry.list == List::Allow);
}

#[test]
fn the_environment_is_a_context_of_its_own() {
    let mut source = source(vec![]);
    source.http =
        ContextSource { mode_from_environment: true, ..context(Some(Mode::Block), Some(Override::Off)) };
    let explained = policy(&source).explain(&get("s", "/"), CLIENT.parse().unwrap(), NOW);
    let [http, environment, server] = &explained.contexts[..] else { panic!("{:?}", explained.contexts) };
    assert_eq!((&*http.context, http.mode, http.mode_allow_override), ("http", None, Some(Override::Off)));
    let of_environment = (environment.mode, environment.mode_allow_override);
    assert_eq!((&*environment.context, of_environment), ("environment", (Some(Mode::Block), None)));
    assert_eq!((&*server.context, server.mode), ("server s", Some(Mode::SafeBlocking)));
    assert_eq!(explained.mode_allow_override, Sourced { value: Override::Off, from: "http".into() });
}
