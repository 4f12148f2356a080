"""How long it takes to get in."""
import contextlib, json, os, pathlib, shlex, subprocess, time

from process import Server, alternate, at_any_moment, finish, say, start, timed, until_first_output
from stage import BASTION, IMAGE, RUN, delete
from table import row

AUDIT_LOG = pathlib.Path("/run/real-kube/log/audit.log")  # ../shared/kube's


def commands(stage):
    say("a command, from a new process; then on a live connection")
    samples = alternate(stage.pick(10, 40), [*stage.bastion, "true"], [*stage.sshd, "true"], stage.exec("true"))
    yield row("`ssh … true`, whole client process, p50", "ms", *milliseconds(samples), goals=["≤ 0.3 × sshd"])
    with contextlib.ExitStack() as masters:
        live = [masters.enter_context(stage.master(command, "live")) for command in (stage.bastion, stage.sshd)]
        samples = alternate(stage.pick(10, 40), *([*command, "true"] for command in live), stage.exec("true"))
    yield row("a further session on a live connection, p50", "ms", *milliseconds(samples), goals=["≤ 0.25 × sshd", "≤ 0.15 × kubectl exec"])


def milliseconds(samples):
    return [[seconds * 1000 for seconds in sample] for sample in samples]


def api_calls(stage):
    if not os.access(AUDIT_LOG, os.R_OK):
        return say(f"{AUDIT_LOG} is not there: API calls not counted")
    say("API calls")
    begin, logins = AUDIT_LOG.stat().st_size, 5
    for _ in range(logins):
        timed([*stage.bastion, "true"])
    time.sleep(2)  # The log is written in batches.
    with AUDIT_LOG.open("rb") as log:
        log.seek(begin)
        events = [json.loads(line) for line in log if line.endswith(b"\n") and f'"dev-{RUN}"'.encode() in line]
    # An event tells of one stage of a call. The node asks for its pods' tokens on its own.
    calls = {event["auditID"] for event in events if not event["user"]["username"].startswith("system:node:")}
    yield row("audited API calls of a login, pod running", "", len(calls) / logins, goals=["≤ 1"])


def logins(stage):
    say("logins, eight at a time")
    peers = [*stage.bastion, "true"], [*stage.sshd, "true"], stage.exec("true")
    samples = [[] for _ in peers]
    for _ in range(stage.pick(1, 5)):
        for peer, sample in zip(peers, samples):
            began, running = time.perf_counter(), []
            for _ in range(32):
                if len(running) == 8:
                    finish(running.pop(0), peer)
                running.append(start(peer, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
            for process in running:
                finish(process, peer)
            sample.append(32 / (time.perf_counter() - began))
    yield row("logins per second, 8 at a time", "/s", *samples, against="sshd")


def first_logins(stage):
    """The user's key is new in a folder of keys, so that the login makes all; or her object was there before."""
    say("first logins")
    known, unknown, pods = [], [], []
    for n in range(stage.pick(2, 5)):
        (stage.keys / f"{RUN}-file-{n}.pub").write_text(stage.key)
        stage.make_user(f"{RUN}-object-{n}")
        time.sleep(3)  # The object's namespace is made by now, as a colleague's who was added this morning.
        for sample, user in (unknown, f"{RUN}-file-{n}"), (known, f"{RUN}-object-{n}"):
            stage.users.add(user)
            at_any_moment()
            sample.append(until_first_output([*stage.bastion[:-1], f"{user}@127.0.0.1", "echo hi"]))
        (stage.keys / f"{RUN}-file-{n}.pub").unlink()  # Or a login would make her anew.
        stage.delete_users({f"{RUN}-file-{n}", f"{RUN}-object-{n}"}, wait=False)
        pod = f"-n dev-{RUN} bench-{n}"
        pods.append(until_first_output(["sh", "-ec", f"""kubectl run {pod} --image={IMAGE} --restart=Never -- sleep 60 >/dev/null
            kubectl wait -n dev-{RUN} pod/bench-{n} --for=condition=Ready --timeout=60s >/dev/null; kubectl exec {pod} -- echo hi"""]))
        delete("pod", "-n", f"dev-{RUN}", f"bench-{n}", "--wait=false", "--grace-period=1")
        time.sleep(3)  # The old pods are gone.
    yield row("first login to first output, namespace and home included", "s", unknown, goals=["≤ 1.5"])
    yield row("the same, namespace there (`kubectl run`, `wait`, `exec` beside it)", "s", known, None, pods, against="kubectl exec")


def embedded(stage):
    say("first logins on the embedded cluster")
    sample = []
    for n in range(stage.pick(2, 5)):
        data = stage.folder / f"dev-{n}"
        with Server(BASTION, "dev", stage.config, "--listen", "127.0.0.1:0", "--data", data, "--user", f"{RUN}={stage.folder}/key.pub",
                    log=stage.folder / f"dev-{n}.log") as dev:
            words = shlex.split(dev.ready)
            sample.append(until_first_output([*stage.ssh(words[words.index("-p") + 1], RUN), "echo hi"]))
    yield row("first login to first output, embedded cluster", "s", sample, goals=["≤ 0.5"])
