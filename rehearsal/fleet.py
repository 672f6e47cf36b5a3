# SPDX-License-Identifier: GPL-3.0-or-later
"""Any inventory, in containers of this machine: up, deploy, status, run, prune, down.

`up` makes an engine, an image, one systemd container for each host, an inventory and secrets; `deploy` runs the
same site.yml as production against them, over SSH; `down` removes exactly what was made. `up` again, with hosts added
to the inventory, makes those; hosts taken out of it stay until `prune`, as VMs would. All state is in one folder
(.rehearsal), and several of them can be used beside each other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rehearsal import engine, hosts, machine, overlay, result
from rehearsal.console import RehearsalError, run, say, step, stop
from rehearsal.engine import docker
from rehearsal.overlay import Settings, Size
from rehearsal.state import BIN, CHECKOUT, State, secret_in

APPS = {path.stem: path for path in sorted((CHECKOUT / "rehearsal/apps").glob("*.yml"))}
IMAGES_MB, HOST_MB = 3000, 2500  # disk


# up


def up(state: State, arguments: argparse.Namespace) -> None:
    """Make everything that a deployment needs, or nothing when it is there."""
    machine.require_tools({"ssh": "openssh-client", "git": "git"})
    secret_in(state.vault_password)
    shutil.rmtree(state.new, ignore_errors=True)
    state.new.mkdir(mode=0o700)
    overlay.copy_without_secrets(arguments.inventory, state.new)
    settings = overlay.read_settings(state.new, state)
    sizes = overlay.scale(settings.sizes, machine.vcpus(), machine.memory_mb()[0], sizes_before(state))
    if (app := state.read().get("app", arguments.app)) != arguments.app:
        raise RehearsalError(
            f"This rehearsal is of {app}, and another application wants empty hosts: {state.command('down')} first."
        )
    require_room(state, settings, arguments.https_port)

    engine.ensure()
    with engine.locked():
        images = engine.ensure_images(state.logs)
        subnet = engine.ensure_network(state.name)
    addresses = hosts.give_addresses(state.read().get("addresses", {}), settings, str(subnet.network_address))
    state.write(name=state.name, source=str(arguments.inventory.resolve()), app=arguments.app, addresses=addresses)
    state.write(scaled=sizes != settings.sizes)
    state.write(sizes={host: [astuple(size), astuple(sizes[host])] for host, size in settings.sizes.items()})
    hosts.make_keys(state, addresses)
    made = hosts.make_containers(state, settings, addresses, images, arguments)

    files = [path for path in (APPS[arguments.app], *arguments.vars) if path]
    for host, variables in overlay.host_variables(state, settings, sizes, addresses, files).items():
        overlay.write_host_variables(state.new, host, variables)
    overlay.variables_folder(state.new, "group_vars", "all")  # where the secrets will be
    changed = overlay.bring_up_to_date(state.new, state.inventory)
    shutil.rmtree(state.new)
    make_secrets(state)

    for host, size in settings.sizes.items():
        note = "as declared" if size == sizes[host] else f"declared: {size}"
        say(f"{host} at {addresses[host]}: {sizes[host]} ({note})")
    if not made and not changed:
        say("Everything is up; nothing was changed")


def sizes_before(state: State) -> dict[str, tuple[Size, Size]]:
    """The declared and the given size of each host that was made."""
    recorded = state.read().get("sizes", {})
    return {host: (Size(*declared), Size(*given)) for host, (declared, given) in recorded.items()}


def require_room(state: State, settings: Settings, https_port: int) -> None:
    """Raise RehearsalError, before anything is started, when this machine cannot carry what is still to be made."""
    present = engine.containers(state.name) if engine.answers() else {}
    ready = state.read().get("ready", {})
    to_make = [host for host in settings.hosts if host not in present or present[host]["Id"] != ready.get(host)]
    if not to_make:
        return
    available_mb = machine.memory_mb()[1]
    needed_mb = overlay.SMALLEST_HOST_MB * len(to_make)
    if available_mb < needed_mb:
        raise RehearsalError(
            f"{len(to_make)} new hosts need at least {needed_mb} MB of memory and {available_mb} MB are available; "
            "stop something, or rehearse fewer hosts."
        )
    root = docker("info", "--format", "{{.DockerRootDir}}") if engine.answers() else "/var/lib/docker"
    machine.require_disk(Path(root), IMAGES_MB + HOST_MB * len(to_make))
    if https_port and settings.groups["nginx"][0] in to_make and settings.groups["nginx"][0] not in present:
        machine.require_port(https_port)
    machine.raise_inotify_limit(len(settings.hosts))


def make_secrets(state: State) -> None:
    """The rehearsal's own secrets, by the playbook that makes a person's."""
    playbook = CHECKOUT / "playbooks/secrets.yml"
    if playbook.is_file() and not (state.inventory / overlay.SECRETS_FILE).is_file():
        with step("Making secrets for this rehearsal"):
            ansible = [BIN / "ansible-playbook", "-i", state.inventory, playbook]
            run(ansible, env=state.environment(), cwd=CHECKOUT, timeout_seconds=300)


# deploy


def deploy(state: State, arguments: argparse.Namespace) -> None:
    """Run site.yml, sign in as the owner, and write down how to reach what is there now."""
    if state.read()["scaled"]:
        show_declared_plan(state)
    ansible_playbook(state, "site.yml")
    settings = overlay.read_settings(state.inventory, state)
    result.show(state, result.write_summary(state, settings), settings)


def show_declared_plan(state: State) -> None:
    """Print the plan of the fleet at its real sizes. Raises RehearsalError when it cannot work at those."""
    sizes = {f"vm_{name}": f"{{{{ rehearsal_declared_{name} }}}}" for name in ("vcpus", "memory_mb")}
    variables = json.dumps({"declared_plan_file": str(state.declared_plan), **sizes})
    argv = [BIN / "ansible-playbook", "-i", state.inventory, "-e", variables, CHECKOUT / "rehearsal/declared_plan.yml"]
    run(argv, env=state.environment(), cwd=CHECKOUT, timeout_seconds=300)
    say("The plan at the sizes of the inventory; here it is deployed smaller")
    print("\n" + json.loads(state.declared_plan.read_text())["table"] + "\n", flush=True)


def ansible_playbook(state: State, *arguments: str | Path) -> None:
    """Run a playbook on the rehearsal's inventory, its output shown. Raises RehearsalError when it fails."""
    argv = [BIN / "ansible-playbook", "-i", state.inventory, *arguments]
    with step(f"ansible-playbook {Path(arguments[0]).name}"):
        status = subprocess.run(argv, env=state.environment(), cwd=CHECKOUT, check=False).returncode
        if status:
            raise RehearsalError(f"ansible-playbook ended with status {status}; what failed is said above.")


# prune, down, status, run


def prune(state: State, arguments: argparse.Namespace) -> None:
    """Remove the containers of hosts that were taken out of the inventory."""
    settings = overlay.read_settings(state.inventory, state)
    gone = {host: entry["Id"] for host, entry in hosts.left_over(state, settings).items()}
    if not gone:
        say("Nothing to remove: every host that is there is in the inventory")
        return
    hosts.forget_connections(state)
    remove_containers(gone.values())
    state.write(ready={host: made for host, made in state.read().get("ready", {}).items() if host not in gone})
    say(f"Removed {', '.join(gone)}")


def remove_containers(ids: Iterable[str]) -> None:
    """Remove containers with what is in them."""
    ids = list(ids)
    # Each takes the engine seconds, of which it waits for most.
    with step(f"Removing {len(ids)} container(s)"), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda found: docker("rm", "--force", "--volumes", found, timeout_seconds=300), ids))


def down(state: State, arguments: argparse.Namespace) -> None:
    """Remove exactly what was made."""
    if engine.answers():
        hosts.forget_connections(state)
        if ids := [entry["Id"] for entry in engine.containers(state.name).values()]:
            remove_containers(ids)
        if docker("network", "ls", "--quiet", "--filter", f"label={engine.LABEL}={state.name}"):
            docker("network", "rm", state.name)
            say("Removed the network")
        if not arguments.keep_images:
            with engine.locked():
                for tag in engine.remove_unused_images():
                    say(f"Removed the image {tag}")
        if engine.stop_own():
            say("Stopped the Docker engine that a rehearsal had started")
    state.remove()
    say(f"Removed {state.folder}")


def status(state: State, arguments: argparse.Namespace) -> None:
    """Print what there is of the rehearsal."""
    found = engine.containers(state.name) if engine.answers() else {}
    if not found:
        print(f"Nothing is up of the rehearsal in {state.folder}.")
    for host, entry in sorted(found.items()):
        address = engine.address(entry, state.name)
        print(f"{host or overlay.WORLD:24} {address:16} {entry['State']['Status']:10} {entry['Name'].lstrip('/')}")


def run_playbook(state: State, arguments: argparse.Namespace) -> None:
    """Run any playbook against the rehearsal."""
    ansible_playbook(state, *arguments.playbook)


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Rehearse an inventory in containers of this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--state", type=Path, default=CHECKOUT / ".rehearsal", help="folder of the rehearsal")

    def command(function, summary: str) -> argparse.ArgumentParser:
        name = function.__name__.removesuffix("_playbook")
        added = commands.add_parser(name, parents=[shared], help=summary, description=summary)
        added.set_defaults(function=function)
        return added

    added = command(up, "make the hosts, their inventory and secrets")
    added.add_argument("--inventory", type=Path, default=CHECKOUT / "inventories/single_box")
    added.add_argument("--app", choices=list(APPS), default="calf", help="what will be deployed")
    added.add_argument("--name", help="name of containers and network (default: from the state folder)")
    added.add_argument(
        "--https-port", type=int, default=int(os.environ.get("REHEARSE_HTTPS_PORT", "8443")), metavar="PORT",
        help="port of 127.0.0.1 for the first nginx host; 0 publishes none",
    )  # fmt: skip
    added.add_argument(
        "--vars",
        action="append",
        default=[],
        type=Path,
        help="YAML file of variables for all hosts, e.g. another mastodon_repo; of two, the later counts",
    )
    added.add_argument("--mount", action="append", default=[], metavar="SOURCE:TARGET", help="folder to show to hosts")
    command(deploy, "run site.yml and write summary.json")
    command(status, "show what is up")
    command(prune, "remove hosts that were taken out of the inventory, once `up` has seen that they were")
    command(down, "remove what was made").add_argument("--keep-images", action="store_true")
    command(run_playbook, "run any playbook").add_argument(
        "playbook", nargs=argparse.REMAINDER, help="a playbook and its options"
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = parse_arguments(words)
    state = State(arguments.state, getattr(arguments, "name", None))
    try:
        if arguments.function in (deploy, run_playbook, prune) and not state.inventory.is_dir():
            raise RehearsalError(f"There is no rehearsal in {state.folder}; make one: make rehearse")
        if arguments.function in (down, status) and not state.lock.is_file():
            print(f"There is no rehearsal in {state.folder}.")
            return 0
        with state.locked():
            arguments.function(state, arguments)
    except RehearsalError as error:
        return stop(error)
    except KeyboardInterrupt:
        again = f"Run the same command again to go on, or {state.command('down')} to remove it."
        return stop(RehearsalError(f"interrupted. {again}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
