"""What it is measured on: both servers, a user whose DevServer runs, and the commands that reach it."""
import contextlib, json, os, pathlib, platform, secrets, shlex, shutil, subprocess, time

from process import Client, Failed, Running, Server, free_port, run, say, until_first_output, wait_until_succeeds

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BASTION = os.environ.get("BASTION", str(ROOT / "target/release/bastion"))
IMAGE = os.environ.get("BENCH_IMAGE", "localhost/dev:1")
RUN = f"bench-{secrets.token_hex(2)}"  # The name of this run's user and flavor; its other users are RUN-…
ANSWERER = (pathlib.Path(__file__).parent / "answerer.py").read_text()


class Stage:
    def __init__(self, folder, quick, agent):
        self.folder, self.quick, self.agent, self.users = folder, quick, agent, set()
        self.config, self.keys = folder / "bastion.toml", folder / "keys"
        self.resources, self.servers = contextlib.ExitStack(), contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            undo.enter_context(self.resources)
            self.prepare()
            undo.pop_all()
        return self

    def __exit__(self, *error):
        say("ending what was started, deleting what was made")
        self.resources.__exit__(*error)

    def prepare(self):
        find_programs()
        self.keys.mkdir()
        for name in "key", "host_key":
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name])
        self.key = (self.folder / "key.pub").read_text()
        self.config.write_text(f"""
            [operator]
            image = "{IMAGE}"
            agent.image = "{agent_image() if self.agent else ""}"
            lease.namespace = "default"
            lease.name = "{RUN}"
            [ssh]
            listen = "127.0.0.1:0"
            host_key = {{ file = "{self.folder}/host_key" }}
            [telemetry]
            listen = "127.0.0.1:0"
            [identity]
            registries = [{{ kind = "user-objects" }}, {{ kind = "files", directory = "{self.keys}" }}]
            [provisioning.container_requests]
            cpu = "5m"
            memory = "16Mi"
            """)
        if others := kubectl("get", "pods", "-A", "-l", "app.kubernetes.io/part-of=bastion", "-o", "name").split():
            say(f"careful: {len(others)} pods of a deployed bastion work on the same users")
        apply(run([BASTION, "crds"]).stdout)
        apply((ROOT / "k8s/base/users.yaml").read_text())
        self.machine = describe_machine(self.agent)
        say("starting bastion and sshd")
        self.resources.callback(delete, f"devserverflavor/{RUN}")
        self.resources.callback(delete, "-n", "default", f"lease/{RUN}")
        self.resources.callback(self.delete_users, self.users)
        self.resources.enter_context(self.servers)
        self.start_bastion()
        self.start_sshd()
        # Small, whatever default flavor the cluster has.
        resources = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}}
        apply_object("DevServerFlavor", RUN, {"resources": resources})
        self.make_user(RUN)
        wait_until_succeeds([*self.bastion, "true"])

    def start_bastion(self):
        self.operator = self.servers.enter_context(Server(BASTION, "operator", self.config, log=self.folder / "operator.log"))
        self.server = self.servers.enter_context(self.serve("serve.log"))
        self.bastion = self.ssh(self.server.ready.rsplit(":", 1)[1], RUN)

    def restart_bastion(self):
        """Gives the seconds from the start of both to a login's first output."""
        self.servers.close()
        began = time.perf_counter()
        self.start_bastion()
        until_first_output([*self.bastion, "echo hi"])
        return time.perf_counter() - began

    def serve(self, log):
        return Server(BASTION, "serve", self.config, log=self.folder / log)

    def start_sshd(self):
        port, user = free_port(), run(["id", "-un"]).stdout.strip()
        (self.folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {self.folder}/host_key\nAuthorizedKeysFile {self.folder}/key.pub\nPidFile none\n"
            "StrictModes no\nUsePAM no\nPermitRootLogin yes\nMaxStartups 100\nMaxSessions 100\nLogLevel ERROR\n"
            "Subsystem sftp internal-sftp\n")
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # It insists on an empty folder.
        self.resources.enter_context(Running([SSHD, "-D", "-e", "-f", self.folder / "sshd_config"], stderr=subprocess.DEVNULL))
        self.sshd = self.ssh(port, user)
        wait_until_succeeds([*self.sshd, "true"])

    def ssh(self, port, user):
        options = ["IdentitiesOnly=yes", "StrictHostKeyChecking=no", f"UserKnownHostsFile={self.folder}/known_hosts", "LogLevel=ERROR",
                   "BatchMode=yes", "ConnectTimeout=20", f"Port={str(port).strip()}"]
        return ["ssh", "-F", "none", "-i", f"{self.folder}/key", *(f"-o{option}" for option in options), f"{user}@127.0.0.1"]

    @contextlib.contextmanager
    def master(self, command, name):
        """A live connection; gives the command line of its sessions."""
        shared = [command[0], f"-oControlPath={self.folder}/%C-{name}", *command[1:]]
        with Running([shared[0], "-M", "-N", *shared[1:]], stdin=subprocess.DEVNULL):
            wait_until_succeeds([shared[0], "-O", "check", *shared[1:]])
            yield shared

    @contextlib.contextmanager
    def forward(self, command):
        """A port here that is forwarded to answerer.py on the other side."""
        with Client([*command, shlex.join(["python3", "-c", ANSWERER])]) as answerer:
            port, there = free_port(), answerer.first_output().strip()
            with Running([command[0], "-N", "-oExitOnForwardFailure=yes", f"-L127.0.0.1:{port}:127.0.0.1:{there}", *command[1:]]):
                wait_until_succeeds(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"])
                yield port

    def exec(self, *command, options=()):
        return ["kubectl", "exec", *options, "-n", f"dev-{RUN}", "dev", "--", *command]

    def zeros(self, size):
        path = self.folder / f"zeros-{size}"
        path.touch()
        os.truncate(path, size)
        return path

    def make_user(self, name):
        self.users.add(name)
        apply_object("DevServerUser", name, {"publicKeys": [self.key.strip()], "devServer": {"flavor": RUN}})

    def delete_users(self, gone, wait=True):
        # The user first: the operator would make her namespace again.
        if gone:
            delete(*(f"devserveruser/{name}" for name in gone))
            namespaces = [f"namespace/dev-{name}" for name in gone]
            delete("--wait=false", *namespaces)
            if wait:
                try:
                    kubectl("wait", "--for=delete", "--timeout=60s", *namespaces)
                except (Failed, subprocess.SubprocessError) as error:
                    say(f"deleted, but not gone yet: {error}")

    def pick(self, quick, whole):
        return quick if self.quick else whole


def describe_machine(agent):
    versions = json.loads(kubectl("version", "-o", "json"))
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=10).stderr.split(",")[0].split()[0]
    return {"date": time.strftime("%Y-%m-%d"), "cores": f"{os.cpu_count()} cores", "system": platform.machine(),
            "kubernetes": f"Kubernetes {versions['serverVersion']['gitVersion']}", "ssh": ssh,
            "bastion": run([BASTION, "--version"]).stdout.strip(), "agent": "with the agent" if agent else "without the agent"}


def find_programs():
    global SSHD
    run([ROOT / "scripts/install", "ssh=openssh-client", "ssh-keygen=openssh-client", "sftp=openssh-client", "rsync"], timeout=300, stderr=None)
    SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    # Its package would start one for the whole network: not ours to decide.
    if not SSHD:
        raise Failed("no sshd to compare with: scripts/install sshd=openssh-server (that also starts one on port 22)")
    kube = ROOT.parent / "shared/kube/kube"
    if not os.environ.get("KUBECONFIG") and os.access(kube, os.X_OK):
        names = run(["bash", "-c", f'eval "$({shlex.quote(str(kube))} env)"; echo "$KUBECONFIG"; echo "$PATH"']).stdout
        os.environ["KUBECONFIG"], os.environ["PATH"] = names.splitlines()
    if not shutil.which("kubectl"):
        raise Failed("no kubectl on the PATH")
    # The agent lies beside it: what runs on the embedded cluster takes it from there.
    own = "BASTION" not in os.environ and not os.access(f"{BASTION}-agent", os.X_OK)
    if own or not os.access(BASTION, os.X_OK):
        say("building bastion (many minutes, once)")
        run(["cargo", "build", "--release", "--locked", "--bin", "bastion", "--bin", "bastion-agent"], cwd=ROOT, timeout=3600, stderr=None)


def agent_image():
    if image := os.environ.get("BENCH_AGENT_IMAGE"):
        return image
    say("building the image that brings the agent into pods (many minutes, once)")
    try:
        return run([ROOT / "scripts/deploy", "--image-only"], timeout=3600, stderr=None).stdout.strip()
    except Failed:
        raise Failed("no image with the agent: name one in BENCH_AGENT_IMAGE, or do without, with --no-agent") from None


def apply(manifest):
    run(["kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-"], input=manifest)


def apply_object(kind, name, spec):
    apply(json.dumps({"apiVersion": "devserver.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}))


def kubectl(*arguments):
    return run(["kubectl", "--request-timeout=90s", *arguments], timeout=120).stdout


def delete(*arguments):
    """Also when the API server is away for a while: nothing else would do it."""
    for attempt in range(20):
        try:
            return kubectl("delete", "--ignore-not-found", *arguments)
        except (Failed, subprocess.SubprocessError) as error:
            say(f"not deleted yet: {error}")
            time.sleep(6)
    say(f"LEFT BEHIND: {' '.join(arguments)}")
