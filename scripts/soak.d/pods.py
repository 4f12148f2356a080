"""Where the pods are, and how one looks into them."""
import contextlib, functools, json, os, pathlib, re, secrets, subprocess, time, urllib.error, urllib.request

from bounce import wait
from process import kill, output, processes, say, usage

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class Embedded:
    """Pods are processes of this machine, homes folders of it."""
    grace = 15  # Seconds, of a carrier whose link broke.
    run = "soak"  # Names what it makes.

    def __init__(self, folder):
        self.folder, self.data = folder, folder / "data"

    def name(self, user):
        return user

    def start(self, bastion, users, server):
        os.environ.pop("KUBECONFIG", None)
        # Its own operator waits for a lease that it cannot have: ours is another process, that can be killed.
        own = {"BASTION_OPERATOR__LEASE__ENABLED": "true", "BASTION_OPERATOR__LEASE__NAMESPACE": "nowhere", "BASTION_OPERATOR__LEASE__RETRY": "9h"}
        keys = [f"--user={user}={self.folder}/key.pub" for user in users]
        server("dev", ["dev", "--listen=127.0.0.1:0", f"--data={self.data}", *keys], own).start()
        self.kubeconfig = (self.data / "kubeconfig").read_text()
        self.url = re.search(r"server: *(http://\S+)", self.kubeconfig)[1]
        agent = pathlib.Path(bastion).resolve().with_name("bastion-agent")
        self.settings = f'agent = {{ image = "bastion", path = "{agent}" }}\n'

    def home(self, user):
        return str(next((self.data / f"volumes/dev-{user}").iterdir()))

    def shell(self, user, script):
        """What a script prints in her home."""
        return output(["sh", "-c", script], cwd=self.home(user))

    def processes(self, users):
        mark, found = f"MINIK8S={(self.data / 'cluster-id').read_text().strip()}/", []
        for process in processes():
            if mark in process.environment:
                process.user = next((user for user in users if f"/dev-{user}/" in process.environment), None)
                found.append(process)
        return found

    def signal(self, process, how):
        kill(process.pid, how)

    def usage(self, process):
        return usage(process.pid)

    def delete_pod(self, user):
        self.api("DELETE", f"/api/v1/namespaces/dev-{user}/pods/dev")

    def log(self, user):
        return self.api("GET", f"/api/v1/namespaces/dev-{user}/pods/dev/log")

    def api(self, method, path):
        with contextlib.suppress(urllib.error.HTTPError):
            with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=30) as answer:
                return answer.read().decode(errors="replace")
        return ""

    def acts(self, chance):
        """What more can be done to it."""
        return {}

    def delete(self):
        """Before its servers end."""

    def left(self):
        """After they did."""
        id = self.data / "cluster-id"
        return [process.words for process in processes() if id.exists() and f"MINIK8S={id.read_text().strip()}/" in process.environment]


# Each process but this shell, and its words.
LIST = r"""for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p = $$ ] || printf '%s %s\n' $p "$({ tr '\0\n' '\1 ' </proc/$p/cmdline; } 2>/dev/null)"; done"""


class PodProcess:
    def __init__(self, user, pid, words):
        self.user, self.pid, self.words = user, pid, words


class Real:
    """KUBECONFIG's cluster: pods are looked into by `kubectl exec`."""
    grace = 60  # An API server or a kubelet takes a while to come back.

    def __init__(self, folder):
        self.folder, self.run, self.users = folder, f"soak-{secrets.token_hex(2)}", []
        kube = os.environ.get("BASTION_TEST_KUBE") or ROOT.parent / "shared/kube/kube"
        self.kube = kube if os.access(kube, os.X_OK) else None

    def name(self, user):
        return f"{self.run}-{user}"

    def start(self, bastion, users, _):
        if "minik8s" in output(["kubectl", "version", "-o", "json"]):
            raise RuntimeError("that is an embedded cluster: processes of its pods are not told from any others by looking into a pod")
        self.kubeconfig = output(["kubectl", "config", "view", "--raw", "--minify", "--flatten"])
        self.url = re.search(r"server: *(https?://\S+)", self.kubeconfig)[1]
        if self.kube and self.url not in kubeconfig_of(self.kube):
            self.kube = None  # That one is another cluster.
        if not self.kube:
            say("no ../shared/kube with this cluster: its own parts are left alone")
        image = os.environ.get("BASTION_TEST_AGENT_IMAGE")
        if not image:
            say("building the image that brings the agent into pods (many minutes, once)")
            image = output([ROOT / "scripts/deploy", "--image-only"], timeout=3600).strip()
        self.settings = f'image = "localhost/dev:1"\nagent.image = "{image}"\n'
        self.apply(output([bastion, "crds"]))
        self.apply((ROOT / "k8s/base/users.yaml").read_text())
        small = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
        objects = [("DevServerFlavor", self.run, {"resources": small})]
        key = (self.folder / "key.pub").read_text().strip()
        objects += [("DevServerUser", self.name(user), {"publicKeys": [key], "devServer": {"flavor": self.run}}) for user in users]
        self.users = [self.name(user) for user in users]
        for kind, name, spec in objects:
            self.apply(json.dumps({"apiVersion": "devserver.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}))

    def apply(self, manifest):
        output(["kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-"], input=manifest)

    def home(self, user):
        return "/home/dev"

    def shell(self, user, script):
        return output(["kubectl", "exec", "-n", f"dev-{self.name(user)}", "dev", "-c", "devserver", "--", "sh", "-c", script])

    def processes(self, users):
        found = []
        for user in users:
            with contextlib.suppress(subprocess.SubprocessError):  # Her pod may be on its way.
                for line in self.shell(user, LIST).splitlines():
                    pid, _, words = line.partition(" ")
                    found.append(PodProcess(user, int(pid), words.rstrip("\1").split("\1")))
        return [process for process in found if process.words != [""]]  # One of these has ended since.

    def signal(self, process, how):
        with contextlib.suppress(subprocess.SubprocessError):
            self.shell(process.user, f"kill -{int(how)} {process.pid}")

    def usage(self, process):
        lines = self.shell(process.user, f"for f in /proc/{process.pid}/fd/*; do readlink $f; done; grep VmRSS /proc/{process.pid}/status").splitlines()
        return lines[:-1], int(lines[-1].split()[1]) // 1024

    def delete_pod(self, user):
        output(["kubectl", "delete", "pod", "dev", "-n", f"dev-{self.name(user)}", "--ignore-not-found", "--wait=false"])

    def log(self, user):
        return output(["kubectl", "logs", "dev", "-c", "devserver", "-n", f"dev-{self.name(user)}"])

    def acts(self, chance):
        """Its own parts go away and come back."""
        parts = ["kube-apiserver", "kubelet", "kube-controller-manager", "kube-scheduler"] if self.kube else []
        return {f"stop the {part}": functools.partial(self.restart, part, chance) for part in parts}

    def restart(self, part, chance):
        if part == "kube-apiserver":  # Told to stop, it waits a minute and more for watches to end.
            subprocess.run(["pkill", "-KILL", "-x", part])
        output([self.kube, "stop", part])
        try:
            time.sleep(chance.uniform(0, 5))
        finally:
            output([self.kube, "start", part], stdout=subprocess.DEVNULL)
        ready = ["kubectl", "get", "--raw", "/readyz"]
        if not wait(lambda: subprocess.run(ready, capture_output=True, timeout=60).returncode == 0, self.grace):
            raise RuntimeError("the API server does not come back")
        return part

    def delete(self):
        # The users first: the operator would make their namespaces again.
        for names in ([f"devserveruser/{name}" for name in self.users], [f"namespace/dev-{name}" for name in self.users],
                      [f"devserverflavor/{self.run}"], ["-n", "default", "lease/" + self.run, "secret/" + self.run]):
            subprocess.run(["kubectl", "delete", "--ignore-not-found", "--wait=false", *names], stdout=subprocess.DEVNULL, timeout=120)

    def left(self):
        return []


def kubeconfig_of(kube):
    """Its address tells whether that is the cluster at work."""
    return subprocess.run(["bash", "-c", 'eval "$("$0" env)"; kubectl config view --minify', kube], capture_output=True, text=True, timeout=60).stdout
