//! Configurations, good and bad.

use crate::{
    cache::Cache,
    configuration::Configuration,
    framework::{CycleState, Point, Profiles},
    listers::Listers,
    testing,
};

fn parse(profiles: &str) -> Result<Profiles, String> {
    let yaml = format!(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n{profiles}"
    );
    let configuration = Configuration::parse(yaml.as_bytes()).map_err(|e| e.to_string())?;
    configuration
        .profiles(&testing::handle(Listers::default()))
        .map_err(|e| e.to_string())
}

#[test]
fn without_profiles_there_is_the_default_one() {
    let profiles = parse("").unwrap();
    assert!(profiles.has("default-scheduler"));
    assert_eq!(profiles.first().names(Point::QueueSort), ["PrioritySort"]);
    let scores = profiles.first().names(Point::Score);
    assert_eq!(
        scores,
        [
            "TaintToleration",
            "NodeAffinity",
            "NodeResourcesFit",
            "PodTopologySpread",
            "InterPodAffinity",
            "NodeResourcesBalancedAllocation",
            "ImageLocality"
        ]
    );
}

#[test]
fn plugins_are_switched_off_and_on_and_put_in_order() {
    let profiles = parse(
        "profiles:
- schedulerName: a
  plugins:
    score:
      disabled: [{name: '*'}]
      enabled: [{name: ImageLocality, weight: 7}, {name: NodeResourcesFit}]
    filter:
      disabled: [{name: TaintToleration}]
      enabled: [{name: NodePorts}]
- schedulerName: b
  plugins:
    multiPoint:
      disabled: [{name: DefaultPreemption}]
",
    )
    .unwrap();
    let a = profiles.first();
    assert_eq!(a.names(Point::Score), ["ImageLocality", "NodeResourcesFit"]);
    let filters = a.names(Point::Filter);
    assert_eq!(filters[..2], ["NodePorts", "NodeUnschedulable"]);
    assert!(!filters.contains(&"TaintToleration"));
    assert_eq!(a.names(Point::PostFilter), ["DefaultPreemption"]);
    let pod = testing::pod("p").edit(|spec| spec.scheduler_name = Some("b".to_owned()));
    let b = profiles.of(&pod.info());
    assert_eq!(b.name(), "b");
    assert!(b.names(Point::PostFilter).is_empty());
}

#[test]
fn plugins_are_told_their_arguments() {
    let profiles = parse(
        "profiles:
- pluginConfig:
  - name: NodeAffinity
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeAffinityArgs
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
          - matchExpressions: [{key: pool, operator: In, values: [blue]}]
",
    )
    .unwrap();
    let mut cache = Cache::default();
    cache.set_node(testing::node("red").labels(&[("pool", "red")]).build());
    let schedule = |cache: &Cache| {
        let mut state = CycleState::default();
        let info = testing::pod("p").info();
        crate::algorithm::Algorithm::new(1, 0).schedule(
            profiles.first(),
            &mut state,
            &info,
            cache.snapshot(),
        )
    };
    assert!(
        schedule(&cache)
            .unwrap_err()
            .message
            .contains("1 node(s) didn't match scheduler-enforced node affinity")
    );
    cache.set_node(testing::node("blue").labels(&[("pool", "blue")]).build());
    assert_eq!(schedule(&cache).unwrap().node, "blue");
}

#[test]
fn what_cannot_be_is_refused() {
    for (profiles, expected) in [
        (
            "profiles: [{schedulerName: a}, {schedulerName: a}]",
            "profiles[1].schedulerName: Duplicate value",
        ),
        (
            "percentageOfNodesToScore: 101",
            "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]",
        ),
        (
            "podInitialBackoffSeconds: 5\npodMaxBackoffSeconds: 1",
            "podMaxBackoffSeconds: Invalid value: 1",
        ),
        (
            "profiles: [{plugins: {bind: {disabled: [{name: DefaultBinder}]}}}]",
            "at least one bind plugin is needed",
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: Nonsense}]}}}]",
            "Filter \"Nonsense\" does not exist",
        ),
        (
            "profiles: [{plugins: {bind: {enabled: [{name: NodePorts}]}}}]",
            "plugin \"NodePorts\" does not extend Bind plugin",
        ),
        (
            "profiles: [{pluginConfig: [{name: Nonsense}]}]",
            "plugin \"Nonsense\" does not exist",
        ),
        (
            "profiles: [{pluginConfig: [{name: InterPodAffinity, args: {hardPodAffinityWeight: 101}}]}]",
            "initializing plugin \"InterPodAffinity\": hardPodAffinityWeight: not in valid range [0, 100]",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {kind: NodeAffinityArgs}}]}]",
            "has to match plugin args",
        ),
        ("nonsense: 1", "unknown field"),
        ("profiles: {}", "decoding the scheduler's configuration"),
        (
            "extenders: [{urlPrefix: 'http://x'}]",
            "extenders are not supported",
        ),
    ] {
        let error = parse(profiles).err().unwrap_or_default();
        assert!(error.contains(expected), "{profiles}: {error}");
    }
    assert!(Configuration::parse(b"kind: Pod\napiVersion: v1\n").is_err());
    assert!(Configuration::parse(b"\xff\xfe{").is_err());
}
