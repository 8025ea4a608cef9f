"""The pods of an overlay as processes on this machine.

Each pod has a loopback address of its own, so that all keep their ports. Names of services and pods in arguments, environment
and configuration become these addresses, volumes become directories. What a pod refers to is noted, to be held against
the network policies.

Without `fluvio-run` there is no cluster: then each role runs as `topline serve`, which has the ports and the paths of all.
"""

import contextlib
import ctypes
import http.client
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = {"fluvio": "fluvio-run", "nginx-unprivileged": "nginx"}
PATIENCE = 120.0
PAUSE = 0.1
RESTARTS = 10
CONTAIN = Path(__file__).parent / "contain"
# (address, port) of those that speak TLS, and by what they are checked.
SECURE = {}


def eventually(what, check, patience=PATIENCE):
    """Waits until `check` gives something; fails with what it last raised."""
    deadline, reason = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        try:
            if result := check():
                return result
        except (OSError, http.client.HTTPException) as error:
            reason = error
        time.sleep(PAUSE)
    raise AssertionError(f"{what}: not within {patience:.0f} s ({reason})")


def get(address, port, path, headers=None, method="GET", body=None):
    """Status, headers and body of an answer."""
    if context := SECURE.get((address, port)):
        connection = http.client.HTTPSConnection(address, port, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def die_with_parent():
    """However the tests end, what they started ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def make_certificates(directory):
    """What a Secret of cert-manager holds: an authority, and a certificate for the services with its key."""
    directory.mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    (directory / "names").write_text("subjectAltName=DNS:topline-ingest,DNS:topline-query,DNS:topline-gateway\n")
    for command in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority", "-days", "2"],
        ["req", *key, "-keyout", "tls.key", "-out", "request", "-subj", "/CN=topline"],
        ["x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names",
         "-out", "tls.crt"],
    ):
        subprocess.run(["openssl", *command], cwd=directory, check=True, capture_output=True)


def can_contain():
    """Whether processes can be given what their containers give them: a read-only root, a user without rights."""
    try:
        return subprocess.run(
            ["unshare", "--mount", CONTAIN, "65532", "", "sh", "-c", "! touch /tmp/topline-k8s-contained"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ).returncode == 0
    except FileNotFoundError:
        return False


@dataclass
class Running:
    pod: object
    address: str
    directory: Path
    arguments: list = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    process: subprocess.Popen = None
    restarts: int = 0

    def start(self):
        with open(self.directory / "output", "ab") as output:
            self.process = subprocess.Popen(
                self.arguments, env=self.environment, cwd=self.directory, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, preexec_fn=die_with_parent,
            )

    def output(self):
        return (self.directory / "output").read_text(errors="replace")[-3000:]

    def probe(self, kind):
        """Whether a probe succeeds now, as the kubelet would see it."""
        probe = self.pod.probes[kind]
        if "tcpSocket" in probe:
            socket.create_connection((self.address, self.pod.port(probe["tcpSocket"]["port"])), 2).close()
            return True
        check = probe["httpGet"]
        return 200 <= get(self.address, self.pod.port(check["port"]), check["path"])[0] < 400

    def mounts(self):
        """Where each volume is in the container, and here."""
        mounts = self.pod.container.get("volumeMounts", [])
        return {m["mountPath"]: str(self.directory / m["name"]) for m in mounts}


class System:
    def __init__(self, manifests):
        self.manifests = manifests
        self.fluvio = shutil.which("fluvio-run")
        self.contained = can_contain()
        self.directory = Path(tempfile.mkdtemp(prefix="topline-k8s-"))
        self.directory.chmod(0o755)
        net = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}"
        self.spare = f"{net}.250"
        self.references = set()
        self.pods = {
            pod.name: Running(pod, f"{net}.{number}", self.directory / pod.name)
            for number, pod in enumerate(manifests.pods(), start=1)
        }

    def program(self, pod):
        """The program of a pod on this machine, if there is one."""
        image = pod.image.rsplit("/", 1)[-1].split(":")[0]
        if pod.is_topline:
            return os.environ["TOPLINE"]
        return shutil.which(PROGRAMS.get(image, image)) if image in PROGRAMS else None

    def runnable(self):
        """What can run here and runs all the time."""
        return [r for r in self.pods.values() if self.program(r.pod) and r.pod.workload["kind"] != "Job"]

    def jobs(self):
        """What runs once; of use only with a cluster."""
        return [r for r in self.pods.values() if r.pod.workload["kind"] == "Job" and self.fluvio]

    def of(self, component):
        return [running for running in self.pods.values() if running.pod.component == component]

    def start(self):
        """All at once, as after `kubectl apply`."""
        for running in self.runnable() + self.jobs():
            self._prepare(running)
        for running in self.runnable() + self.of("setup"):
            if running.arguments:
                running.start()

    def wait_ready(self):
        for running in self.of("setup"):
            if running.process:
                eventually("setup ends well", lambda: self.ended_well(running))
        for running in self.runnable():
            for kind in running.pod.probes:
                eventually(f"{running.pod.name}: {kind}", lambda: self._keep_running() and running.probe(kind))

    @staticmethod
    def ended_well(running):
        status = running.process.poll()
        if status is not None and status != 0:
            raise AssertionError(f"{running.pod.name} ended with {status}: {running.output()}")
        return status == 0

    def _keep_running(self):
        """As the kubelet does: what has ended is started again. A role ends while there are no topics yet."""
        for running in self.runnable():
            if running.process.poll() is not None:
                running.restarts += 1
                assert running.restarts <= RESTARTS, f"{running.pod.name} ends again and again: {running.output()}"
                running.start()
        return True

    def stop(self):
        for running in self.pods.values():
            # nginx has children, which a kill of the first would leave behind.
            for process in self.processes(running):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if running.process:
                running.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _prepare(self, running):
        pod = running.pod
        running.directory.mkdir()
        for volume in pod.spec.get("volumes", []) + pod.workload["spec"].get("volumeClaimTemplates", []):
            place = running.directory / volume.get("name", volume.get("metadata", {}).get("name"))
            place.mkdir()
            if "configMap" in volume:
                for name, text in self.manifests.named("ConfigMap", volume["configMap"]["name"])["data"].items():
                    (place / name).write_text(self.here(running, text))
                    for port in re.findall(r"listen (\d+) ssl;", text):
                        self._speaks_tls(running, int(port))
            if "secret" in volume:
                self._put_secret(running, place, volume["secret"])
        environment = self.manifests.environment(pod)
        arguments = pod.container.get("args", [])
        if pod.is_topline and not self.fluvio:
            environment.pop("TOPLINE_FLUVIO")
            environment.setdefault("TOPLINE_DATA_DIR", str(running.directory / "data"))
            arguments = ["serve", *arguments[1:]]
            if pod.component == "job":
                environment["TOPLINE_LISTEN"] = "0.0.0.0:0"
        running.arguments = [self._own(self.program(pod)), *(self.here(running, a) for a in arguments)]
        running.environment = {k: self.here(running, v) for k, v in environment.items()}
        running.environment["HOSTNAME"] = pod.name
        if "TOPLINE_TLS_CERT" in environment:
            self._speaks_tls(running, pod.port("http"))

        if self.contained:
            self._contain(running)

    def _certificates(self):
        directory = self.directory / "certificates"
        if not directory.exists():
            make_certificates(directory)
        return directory

    def _put_secret(self, running, place, secret):
        """A Secret with a certificate, as the kubelet would: of root and the group of the pod, if it has one."""
        group = running.pod.spec["securityContext"].get("fsGroup", 0)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            shutil.copy(self._certificates() / name, place / name)
            (place / name).chmod(secret["defaultMode"])
            if self.contained:
                shutil.chown(place / name, 0, group)

    def _speaks_tls(self, running, port):
        """From now on `get` checks who answers there; not under which name, these are addresses."""
        context = ssl.create_default_context(cafile=self._certificates() / "ca.crt")
        context.check_hostname = False
        SECURE[running.address, port] = context

    def _own(self, program):
        """A copy of a program where every user finds it."""
        copy = self.directory / Path(program).name
        if not copy.exists():
            shutil.copy(program, copy)
        return str(copy)

    def _contain(self, running):
        user = str(running.pod.spec["securityContext"]["runAsUser"])
        writable = [running.directory / "data"] if not self.fluvio else []
        for mount in running.pod.container.get("volumeMounts", []):
            if not mount.get("readOnly"):
                writable.append(running.directory / mount["name"])
        for place in writable:
            place.mkdir(exist_ok=True)
            shutil.chown(place, int(user), int(user))
        places = ":".join(map(str, writable))
        running.arguments = ["unshare", "--mount", str(CONTAIN), user, places, *running.arguments]
        running.environment.setdefault("PATH", os.environ["PATH"])

    def here(self, running, text):
        """The same text with paths and addresses of this machine."""
        mounts = running.mounts()
        if mounts:
            inside = "|".join(re.escape(place) for place in sorted(mounts, key=len, reverse=True))
            text = re.sub(rf"(?<![\w/.-])({inside})(?=[/;\s]|$)", lambda m: mounts[m[1]], text)
        text = re.sub(r"\b0\.0\.0\.0:", f"{running.address}:", text)
        text = re.sub(r"\blisten (\d+)( ssl)?;", rf"listen {running.address}:\1\2;", text)
        return re.sub(r"\b([a-z0-9.-]*[a-z][a-z0-9.-]*):(\d+)\b", lambda m: self._resolve(running, m), text)

    def _resolve(self, running, match):
        host, port = match[1].removesuffix(".svc.cluster.local"), int(match[2])
        first, _, second = host.partition(".")
        service = self.manifests.service(second or first)
        if service is None:
            return match[0]
        behind = self.manifests.behind(service)
        if second:
            # A pod by its name: its own ports, and only behind a headless service.
            assert service["spec"].get("clusterIP") == "None", f"{host} has no address"
            (target,) = [pod for pod in behind if pod.name == first]
        else:
            (entry,) = [p for p in service["spec"]["ports"] if p["port"] == port]
            target = behind[0]
            port = target.port(entry["targetPort"])
        assert port in target.ports.values(), f"{host}:{port} is not served by {target.name}"
        if running.pod.component != "setup" or target.component != "spu":
            # What setup says of SPUs is for others.
            self.references.add((running.pod.name, target.name, port))
        return f"{self.pods[target.name].address}:{port}"

    # What the processes do, as the system sees it.

    def sockets(self):
        """(owner, state, local, remote) of all TCP sockets of the pods' processes; 0A is listening, 01 established."""
        owners = {}
        for running in self.pods.values():
            for process in self.processes(running):
                for descriptor in self._links(process):
                    if found := re.fullmatch(r"socket:\[(\d+)\]", descriptor[1]):
                        owners[found[1]] = running
        found = []
        for table in ("/proc/net/tcp",):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in owners:
                    found.append((owners[fields[9]], fields[3], self._address(fields[1]), self._address(fields[2])))
        return found

    def written(self, running):
        """Regular files that a process has open for writing."""
        for process in self.processes(running):
            for number, target in self._links(process):
                flags = re.search(r"flags:\s*(\d+)", self._read(f"/proc/{process}/fdinfo/{number}"))
                if target.startswith("/") and not target.startswith("/dev/") and flags and int(flags[1], 8) & 3:
                    yield target

    @staticmethod
    def processes(running):
        """The process and its children."""
        if running.process is None or running.process.poll() is not None:
            return []
        first = running.process.pid
        return [first, *map(int, System._read(f"/proc/{first}/task/{first}/children").split())]

    @staticmethod
    def _links(process):
        try:
            numbers = os.listdir(f"/proc/{process}/fd")
        except OSError:
            return []
        links = []
        for number in numbers:
            try:
                links.append((number, os.readlink(f"/proc/{process}/fd/{number}")))
            except OSError:
                continue
        return links

    @staticmethod
    def _read(path):
        try:
            return Path(path).read_text()
        except OSError:
            return ""

    @staticmethod
    def _address(text):
        address, port = text.split(":")
        return ".".join(str(b) for b in reversed(bytes.fromhex(address))), int(port, 16)
