"""Many users and DevServers: what they take, and whether a change of one still costs what it costs alone."""
import json, os, re, shlex, statistics, time, urllib.parse

from process import Client, Failed, Server, at_any_moment, run, say, until_first_output, wait_until_succeeds
from stage import BASTION, RUN
from table import row

SETTLED = 2  # Seconds, until what a change brings with it is over.
CALLS = re.compile(r'^apiserver_request_total\{(.*)\} ([\d.e+]+)$', re.MULTILINE)


def fleet(stage):
    """DevServers of one user, asleep but for the one that the stage has: a small node has no room for so many pods."""
    wanted = stage.pick(20, 200)
    say(f"{wanted} DevServers on the cluster")
    here = Fleet(os.environ["KUBECONFIG"])
    alone = list(here.changes(f"dev-{RUN}", "dev", stage.pick(3, 10)))
    parts = ("the operator", stage.operator), ("the SSH server", stage.server)
    small = [part.resident() for _, part in parts]
    here.make([devserver(f"dev-{RUN}", f"fleet-{n}", RUN) for n in range(wanted)])
    among = list(here.changes(f"dev-{RUN}", "dev", stage.pick(3, 10)))
    yield from rows(alone, among, f"one of {wanted:,}, real cluster")
    for (name, part), before in zip(parts, small):
        yield row(f"memory of {name}, {wanted:,} DevServers there (without them: {before / 1024:.1f} MiB)", "MiB", part.resident() / 1024)
    starts = [stage.restart_bastion() for _ in range(stage.pick(1, 3))]
    yield row(f"from the start of both to a login's first output, {wanted:,} DevServers there, real cluster", "s", starts)
    # Goes to sleep and is woken by a login.
    woken = []
    for _ in range(stage.pick(3, 10)):
        here.suspend(f"dev-{RUN}", "dev", True)
        here.wait_for_phase(f"dev-{RUN}", "dev", "Suspended")
        wait_until_succeeds(["sh", "-c", f"! kubectl get -n dev-{RUN} pod/dev"])
        at_any_moment()
        woken.append(until_first_output([*stage.bastion, "echo hi"]))
    yield row("login to a suspended DevServer, to first output", "s", woken, goals=["≤ 1"])
    here.run("delete", "--wait=false", "-n", f"dev-{RUN}", *(f"devserver/fleet-{n}" for n in range(wanted)))


def embedded_fleet(stage):
    users, each = stage.pick(50, 1000), 5
    say(f"{users * each:,} DevServers of {users:,} users on the embedded cluster")
    data, log = stage.folder / "fleet", stage.folder / "fleet.log"
    first = f"{RUN}={stage.folder}/key.pub"
    start = lambda: Server(BASTION, "dev", stage.config, "--listen", "127.0.0.1:0", "--data", data, "--user", first, log=log)
    with start() as dev:
        here = Fleet(data / "kubeconfig")
        until_first_output([*stage.ssh(port(dev), RUN), "echo hi"])
        alone, small = list(here.changes(f"dev-{RUN}", "dev", stage.pick(3, 10))), dev.resident()
        names = [f"{RUN}-{n}" for n in range(users)]
        began = time.perf_counter()
        here.make([{"apiVersion": "devserver.io/v1", "kind": "DevServerUser", "metadata": {"name": name}, "spec": {}} for name in names])
        here.wait_for_all("devserverusers", users + 1, "Ready")
        here.make([devserver(f"dev-{name}", f"server-{n}", None) for name in names for n in range(each)])
        here.wait_for_all("devservers", users * each, "Suspended")
        yield row(f"until {users:,} users and {users * each:,} DevServers are made and told of", "s", time.perf_counter() - began)
        yield row("memory for each DevServer and its share of a user, API server, operator and SSH server together", "KiB",
                  (dev.resident() - small) / (users * each))
        among = list(here.changes(f"dev-{RUN}", "dev", stage.pick(3, 10)))
        yield from rows(alone, among, f"one of {users * each:,}, embedded cluster")
    began = time.perf_counter()
    with start() as dev:
        until_first_output([*stage.ssh(port(dev), RUN), "echo hi"])
        yield row(f"from the start to a login's first output, {users * each:,} DevServers there", "s", time.perf_counter() - began)


def rows(alone, among, which):
    calls, seconds = [[change[n] for change in among] for n in range(2)]
    if None not in calls:
        before = statistics.median(calls for calls, _ in alone)
        yield row(f"API calls about a DevServer that is woken, {which} (alone: {before:.0f})", "", calls, goals=[f"≤ {before + 1:.0f}"])
    yield row(f"from a changed spec to its pod, {which}", "s", seconds, goals=["≤ 1"])


class Fleet:
    def __init__(self, kubeconfig):
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        # A server may have a path, which `--raw` leaves out.
        server = self.run("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
        self.metrics = urllib.parse.urlsplit(server).path.rstrip("/") + "/metrics"

    def run(self, *arguments, **options):
        return run(["kubectl", *arguments], env=self.environment, **{"timeout": 600, **options}).stdout

    def make(self, objects):
        for at in range(0, len(objects), 500):
            self.run("create", "--validate=false", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects[at:at + 500]}))

    def suspend(self, namespace, name, suspended):
        patch = json.dumps({"spec": {"lifecycle": {"suspended": suspended}}})
        self.run("patch", "-n", namespace, f"devserver/{name}", "--type=merge", "-p", patch)

    def wait_for_phase(self, namespace, name, phase):
        self.run("wait", "-n", namespace, f"devserver/{name}", f"--for=jsonpath={{.status.phase}}={phase}", "--timeout=60s")

    def wait_for_all(self, kind, wanted, phase):
        until = time.monotonic() + 900
        while (there := self.run("get", kind, "-A", "-o", "jsonpath={.items[*].status.phase}").split().count(phase)) < wanted:
            if time.monotonic() > until:
                raise Failed(f"{there} of {wanted} {kind} are {phase}")
            time.sleep(0.5)

    def changes(self, namespace, name, rounds):
        """Puts it to sleep and wakes it: the calls that the waking costs, and the seconds until there is a pod."""
        for _ in range(rounds):
            self.suspend(namespace, name, True)
            self.wait_for_phase(namespace, name, "Suspended")
            time.sleep(SETTLED)
            calls = self.calls()
            watch = ["kubectl", "get", "-n", namespace, "pods", "-w", "--no-headers", "--field-selector", f"metadata.name={name}"]
            with Client(watch, env=self.environment) as pods:
                time.sleep(0.5)
                began = time.perf_counter()
                self.suspend(namespace, name, False)
                pods.first_output()
                elapsed = time.perf_counter() - began
            self.wait_for_phase(namespace, name, "Running")
            time.sleep(SETTLED)
            yield calls and self.calls() - calls, elapsed

    def calls(self):
        """Of everybody, about DevServers, and to make pods and claims; kubectl's own are part of it. None where they are not told."""
        try:
            metrics = self.run("get", "--raw", self.metrics)
        except Failed:
            return None
        counted = 0
        for labels, count in CALLS.findall(metrics):
            makes = 'verb="POST"' in labels or 'verb="APPLY"' in labels or 'verb="DELETE"' in labels
            about = 'resource="pods"' in labels and 'subresource=""' in labels or 'resource="persistentvolumeclaims"' in labels
            if 'group="devserver.io"' in labels and 'verb="WATCH"' not in labels or makes and about:
                counted += float(count)
        return counted


def devserver(namespace, name, flavor):
    spec = {"lifecycle": {"suspended": True}} | ({"flavor": flavor} if flavor else {})
    return {"apiVersion": "devserver.io/v1", "kind": "DevServer", "metadata": {"namespace": namespace, "name": name}, "spec": spec}


def port(dev):
    words = shlex.split(dev.ready)
    return words[words.index("-p") + 1]
