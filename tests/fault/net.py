# SPDX-License-Identifier: Apache-2.0
"""The network of a fault test: a namespace for each node, all on one bridge; cuts by nftables, slow
links by tc. A cut stands in the namespace of the one that no longer hears (or speaks)."""
import subprocess

from isolate import skip

NETWORK = "10.77.0."


def command(*words, stdin=None):
    result = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise OSError(f"{' '.join(words)}: {result.stderr.strip()}")
    return result.stdout


class Net:
    def __init__(self, names):
        self.address = {name: NETWORK + str(number + 1) for number, name in enumerate(names)}
        self.cuts = set()  # (from, to, how)
        try:
            self._make(names)
            self._rules("client")
        except OSError as error:
            skip(f"no network of namespaces here: {error}")

    def _make(self, names):
        command("ip", "link", "add", "pawl0", "type", "bridge")
        command("ip", "link", "set", "pawl0", "up")
        for name in names:
            port = f"to-{name}"
            command("ip", "netns", "add", name)
            command("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            command("ip", "link", "set", port, "master", "pawl0", "up")
            command("ip", "-n", name, "link", "set", "lo", "up")
            command("ip", "-n", name, "addr", "add", self.address[name] + "/24", "dev", "eth0")
            command("ip", "-n", name, "link", "set", "eth0", "up")

    @staticmethod
    def inside(name, *words):
        """The command line that runs words in a node's namespace."""
        return ["nsenter", f"--net=/run/netns/{name}", *words]

    # ---- cuts -------------------------------------------------------------------------------------

    def _rules(self, name):
        """All rules of one node, replaced as a whole."""
        lines = ["add table ip pawl", "delete table ip pawl", "table ip pawl {",
                 "chain in { type filter hook input priority 0;",
                 "tcp flags & rst == rst accept"]  # a reset must arrive to be one
        for source, target, how in sorted(self.cuts):
            if target != name:
                continue
            verdict = "meta l4proto tcp reject with tcp reset" if how == "reset" else "drop"
            lines.append(f"ip saddr {self.address[source]} {verdict}")
        lines += ["}", "}"]
        command(*self.inside(name, "nft", "-f", "-"), stdin="\n".join(lines) + "\n")

    def cut(self, source, target, how="drop", both=True):
        """What source sends does not reach target: dropped in silence, or answered with resets."""
        self.cuts.add((source, target, how))
        self._rules(target)
        if both:
            self.cuts.add((target, source, how))
            self._rules(source)

    def join(self, source, target):
        for cut in list(self.cuts):
            if {cut[0], cut[1]} == {source, target}:
                self.cuts.discard(cut)
        self._rules(source)
        self._rules(target)

    # ---- slow links -------------------------------------------------------------------------------

    def slow(self, name, rate):
        """Both ways. The queue is long: packets wait, they are not lost."""
        shape = ["root", "tbf", "rate", rate, "burst", "16kb", "limit", "4mb"]
        command("tc", "-n", name, "qdisc", "replace", "dev", "eth0", *shape)
        command("tc", "qdisc", "replace", "dev", f"to-{name}", *shape)

    def fast(self, name):
        command("tc", "-n", name, "qdisc", "del", "dev", "eth0", "root")
        command("tc", "qdisc", "del", "dev", f"to-{name}", "root")
