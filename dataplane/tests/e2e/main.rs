//! End-to-end tests: the binary as an operator runs it, over real sockets, between clients and origins that share no
//! code with it. One file per subject.

#[path = "../support/mod.rs"]
mod support;

mod address_databases;
mod admin_lists;
mod admin_rules;
mod admin_state;
mod ambiguous_paths;
mod bad_requests;
mod benchmarks;
mod block_pages;
mod certificates;
mod commands;
mod costs;
mod encoded_bodies;
mod endless_files;
mod explain;
mod explained_reality;
mod idle_connections;
mod lifecycle;
mod limits;
mod listener_limits;
mod listener_tls;
mod modes;
mod mutual_tls;
mod origin_choice;
mod origin_failures;
mod origin_health;
mod origin_names;
mod parked_bytes;
mod points_requests;
mod points_responses;
mod portable_io;
mod proxy_protocol;
mod proxy_protocol_out;
mod proxying;
mod rules;
mod scores;
mod slow_clients;
mod slow_uploads;
mod tls_matrix;
mod upgrade;
#[path = "../vectors/mod.rs"]
mod vectors;
mod warm_connections;
mod websockets;
