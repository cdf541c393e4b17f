//! Stock kubectl, of our minor version and of the next, through one cluster each.
//!
//! Every scenario has a namespace of its own and runs beside the others; one cluster serves them all, because starting it is what costs.

mod extensions;
mod nodes;
mod objects;
mod pods;
mod services;
mod streams;
mod volumes;
mod workloads;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

use testing::{Cluster, Kubectl, Options};

/// A scenario: its namespace's name, and what happens in it.
type Scenario = (&'static str, fn(&Kubectl<'_>));

/// Longest first: together they take as long as the longest.
const SCENARIOS: &[Scenario] = &[
    ("configmap-update", volumes::follow_their_sources),
    ("rollout", workloads::rollout),
    ("restarts", pods::liveness_restart),
    ("names", services::names_and_addresses),
    ("streams", streams::exec_attach_copy_forward),
    ("logs", streams::logs),
    ("run", pods::run_and_expose),
    ("init", pods::init_containers),
    ("environment", volumes::environment),
    ("sets", workloads::sets_and_jobs),
    ("kustomize", extensions::kustomize),
    ("extensions", extensions::custom_resources),
    ("rules", extensions::policies_and_quota),
    ("objects", objects::create_read_change_delete),
    ("patches", objects::patches),
    ("server-side", objects::server_side_apply),
    ("printing", objects::printing),
    ("discovery", objects::discovery),
    ("nodes", nodes::cordon_taint_and_drain),
    ("preemption", nodes::preemption),
    ("debug", nodes::debug),
    ("access", objects::access),
];

/// How many scenarios run at a time: they wait more than they work.
const WORKERS: usize = 6;

#[test]
fn kubectl_1_36() {
    run_all("kubectl");
}

#[test]
fn kubectl_1_37() {
    run_all("kubectl-1.37");
}

/// A request from the pod `client`, by hand: `wget` of Debian's static busybox crashes in its C library's name lookup, even for an
/// address. The answer's head is printed, too.
fn fetch_in_pod(address: &str, port: &str) -> String {
    format!(r#"exec client -- sh -c 'printf "GET / HTTP/1.0\r\n\r\n" | nc -w 2 {address} {port}'"#)
}

fn run_all(program: &str) {
    let cluster = Cluster::start(Options::default()).expect("the cluster starts");
    let only = std::env::var("SCENARIO").ok();
    let waiting = Mutex::new(
        SCENARIOS
            .iter()
            .filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)),
    );
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no scenario runs under it").next();
                    let Some(&(name, scenario)) = next else { break };
                    let started = std::time::Instant::now();
                    let run = || scenario(&Kubectl::new(&cluster, program, name));
                    if catch_unwind(AssertUnwindSafe(run)).is_err() {
                        failed.lock().expect("no scenario runs under it").push(name);
                        eprintln!("FAILED {name}");
                    }
                    eprintln!("{name}: {:.1} s", started.elapsed().as_secs_f64());
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no scenario runs under it");
    assert!(
        failed.is_empty(),
        "failed: {failed:?}\nserver's log:\n{}",
        cluster.log()
    );
}
