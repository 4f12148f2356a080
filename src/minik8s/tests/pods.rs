//! Pods: where they run, how they fail, how they end.

use super::*;
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, ResourceQuota};
use kube::api::DeleteParams;

fn first_container(pod: Option<&Pod>) -> Option<&ContainerStatus> {
    pod?.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn waits_for(reason: &str) -> impl Fn(Option<&Pod>) -> bool {
    move |pod: Option<&Pod>| {
        let state = first_container(pod).and_then(|status| status.state.as_ref());
        let waiting = state.and_then(|state| state.waiting.as_ref());
        waiting.and_then(|waiting| waiting.reason.as_deref()) == Some(reason)
    }
}

#[tokio::test]
async fn a_pod_has_its_home_and_nothing_of_ours() {
    let running = Running::start().await;
    let claims = running.within::<PersistentVolumeClaim>("default");
    let claim = from(json!({"metadata": {"name": "home"}, "spec": {"accessModes": ["ReadWriteOnce"]}}));
    claims.create(&PostParams::default(), &claim).await.unwrap();
    let mut main = container("sleep 1000");
    main["env"] = json!([{"name": "HOME", "value": "/home/dev"}, {"name": "CACHE", "value": "/home/dev/.cache"}]);
    main["workingDir"] = json!("/home/dev");
    main["volumeMounts"] = json!([{"name": "home", "mountPath": "/home/dev"}]);
    let spec =
        json!({"containers": [main], "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}]});
    running.create_pod("default", "dev", spec).await;
    let pods = running.within::<Pod>("default");
    let pod = until(&pods, "dev", kube::runtime::conditions::is_pod_running()).await.unwrap();

    let folder = fs::canonicalize(running.data.path().join("volumes/default/home")).unwrap();
    let output =
        running.run(&pod, "pwd; echo $HOME; echo $CACHE; echo $HOSTNAME; echo ${CARGO_MANIFEST_DIR-none}").await;
    let home = folder.display();
    assert_eq!(output.text(), format!("{home}\n{home}\n{home}/.cache\ndev\nnone\n"));
    assert!(pod.status.unwrap().pod_ip.unwrap().starts_with("127."));

    claims.delete("home", &DeleteParams::default()).await.unwrap();
    assert!(claims.get("home").await.is_ok(), "a claim in use stays");
    pods.delete("dev", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&claims, "home", |claim: Option<&PersistentVolumeClaim>| claim.is_none()).await;
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why() {
    let running = Running::start().await;
    let spec = json!({"containers": [container("true")], "nodeSelector": {"gpu": "h100"}});
    running.create_pod("default", "dev", spec).await;
    let pods = running.within::<Pod>("default");
    let told = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|condition| {
            condition.type_ == "PodScheduled"
                && condition.reason.as_deref() == Some("Unschedulable")
                && condition.message.as_deref().is_some_and(|message| message.contains("selector"))
        })
    };
    until(&pods, "dev", told).await;
    pods.delete("dev", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(pods.get("dev").await).0, 404, "it ran nowhere: it goes at once");
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_missing_image_is_told_as_the_kubelet_does() {
    let running = Running::start().await;
    let mut main = container("true");
    main["image"] = json!("tools:missing");
    running.create_pod("default", "dev", json!({"containers": [main]})).await;
    let pods = running.within::<Pod>("default");
    until(&pods, "dev", waits_for("ErrImagePull")).await;
    let pod = until(&pods, "dev", waits_for("ImagePullBackOff")).await;
    let status = first_container(pod.as_ref()).unwrap();
    let message = status.state.as_ref().unwrap().waiting.as_ref().unwrap().message.clone().unwrap();
    assert!(message.starts_with("Back-off pulling image \"tools:missing\""), "{message}");
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_container_that_fails_is_restarted_and_then_backed_off() {
    let running = Running::start().await;
    running.create_pod("default", "dev", json!({"containers": [container("exit 3")]})).await;
    let pods = running.within::<Pod>("default");
    let pod = until(&pods, "dev", waits_for("CrashLoopBackOff")).await;
    let status = first_container(pod.as_ref()).unwrap();
    assert_eq!(status.restart_count, 1, "the first restart is immediate");
    let last = status.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));

    let once = json!({"containers": [container("exit 0")], "restartPolicy": "Never"});
    running.create_pod("default", "job", once).await;
    let over = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Succeeded");
    until(&pods, "job", over).await;
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_deleted_pod_ends_with_all_it_started() {
    let running = Running::start().await;
    let mark = format!("2000{}", std::process::id());
    let pod = running.pod("default", "dev", "trap 'exit 0' TERM; while :; do sleep 0.1; done").await;
    let script = format!(
        "setsid sh -c 'sleep {mark} & sleep {mark}; :' >/dev/null 2>&1 & (sleep {mark} >/dev/null 2>&1 &) ; true"
    );
    running.run(&pod, &script).await;
    eventually("three sleepers", || processes_with(&format!("sleep {mark}")) >= 3).await;
    let pods = running.within::<Pod>("default");
    pods.delete("dev", &DeleteParams::default()).await.unwrap();
    until(&pods, "dev", |pod: Option<&Pod>| pod.is_none()).await;
    assert_eq!(processes_with(&format!("sleep {mark}")), 0);
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_pod_runs_again_after_a_restart() {
    let running = Running::start().await;
    running.pod("default", "dev", "sleep 1000").await;
    let running = running.restart().await;
    let pods = running.within::<Pod>("default");
    let again =
        |pod: Option<&Pod>| first_container(pod).is_some_and(|status| status.restart_count == 1 && status.ready);
    let pod = until(&pods, "dev", again).await.unwrap();
    assert_eq!(running.run(&pod, "echo here").await.text(), "here\n");
    running.cluster.stop().await;
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let running = Running::start().await;
    let mark = format!("3000{}", std::process::id());
    let sleepers = format!("trap '' TERM HUP; setsid sleep {mark} & sleep {mark} & wait");
    let pod = running.pod("default", "dev", &sleepers).await;
    running.run(&pod, &format!("setsid setsid sleep {mark} >/dev/null 2>&1 &")).await;
    eventually("three sleepers", || processes_with(&format!("sleep {mark}")) >= 3).await;
    running.cluster.stop().await;
    assert_eq!(processes_with(&format!("sleep {mark}")), 0);
}

#[tokio::test]
async fn the_next_start_kills_what_a_crash_left() {
    let running = Running::start().await;
    let mark = format!("4000{}", std::process::id());
    running.pod("default", "dev", &format!("exec sleep {mark}")).await;
    let data = running.data.clone();
    // As a kill -9 would: nobody is told.
    drop(running);
    assert_eq!(processes_with(&format!("sleep {mark}")), 1);
    let running = Running::start_on(data, "127.0.0.1:0").await;
    let pods = running.within::<Pod>("default");
    let again =
        |pod: Option<&Pod>| first_container(pod).is_some_and(|status| status.restart_count == 1 && status.ready);
    until(&pods, "dev", again).await;
    eventually("only the new run", || processes_with(&format!("sleep {mark}")) == 1).await;
    pods.delete("dev", &DeleteParams::default()).await.unwrap();
    until(&pods, "dev", |pod: Option<&Pod>| pod.is_none()).await;
    assert_eq!(processes_with(&format!("sleep {mark}")), 0);
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_quota_allows_so_many_pods() {
    let running = Running::start().await;
    let quota = from(json!({"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}));
    running.within::<ResourceQuota>("default").create(&PostParams::default(), &quota).await.unwrap();
    running.pod("default", "one", "sleep 1000").await;
    let pods = running.within::<Pod>("default");
    let two: Pod = from(json!({"metadata": {"name": "two"}, "spec": {"containers": [container("sleep 1000")]}}));
    let refused = pods.create(&PostParams::default(), &two).await.unwrap_err();
    let told = "pods \"two\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1";
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403 && status.message == told), "{refused}");
    pods.delete("one", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&pods, "one", |pod: Option<&Pod>| pod.is_none()).await;
    pods.create(&PostParams::default(), &two).await.unwrap();
    running.cluster.stop().await;
}

#[tokio::test]
async fn a_pod_that_is_evicted_says_so_and_goes() {
    let running = Running::start().await;
    let stubborn = container("trap '' TERM; while :; do sleep 0.1; done");
    running.create_pod("default", "dev", json!({"containers": [stubborn]})).await;
    let pods = running.within::<Pod>("default");
    until(&pods, "dev", kube::runtime::conditions::is_pod_running()).await;
    pods.evict("dev", &kube::api::EvictParams::default()).await.unwrap();
    let pod = pods.get("dev").await.unwrap();
    assert!(pod.metadata.deletion_timestamp.is_some());
    let conditions = pod.status.unwrap().conditions.unwrap();
    let target = conditions.iter().find(|condition| condition.type_ == "DisruptionTarget").unwrap();
    assert_eq!((target.status.as_str(), target.reason.as_deref()), ("True", Some("EvictionByEvictionAPI")));
    pods.delete("dev", &DeleteParams::default().grace_period(0)).await.unwrap();
    until(&pods, "dev", |pod: Option<&Pod>| pod.is_none()).await;
    assert!(pods.evict("dev", &kube::api::EvictParams::default()).await.is_err());
    running.cluster.stop().await;
}
