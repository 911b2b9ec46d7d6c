#!/usr/bin/env python3
"""Runs the steps of the Dockerfile without a container engine.

Executes WORKDIR, ENV, ARG, COPY and RUN of the build stage in an empty folder, on what
.dockerignore lets in. In the other stages it only checks that each COPY finds its source. Fails
where a source is missing or a RUN fails. Arguments NAME=VALUE replace the defaults of ARG lines.

The toolchain is the one of this machine, and absolute paths in a RUN line are paths of this
machine: the build stage must use paths relative to its WORKDIR.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ROOT = REPOSITORY / "target" / "image-steps"


def instructions(dockerfile):
    """Yields (instruction, rest of the line), with continued lines joined and comments left out."""
    joined = ""
    for line in dockerfile.splitlines():
        if line.lstrip().startswith("#") or not line.strip():
            continue
        joined += line.removesuffix("\\")
        if not line.endswith("\\"):
            instruction, rest = joined.strip().split(maxsplit=1)
            yield instruction.upper(), rest
            joined = ""


def ignore_rules(text):
    """Turns the lines of .dockerignore into (keeps, regular expression), in their order."""
    rules = []
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            pattern = re.escape(line.removeprefix("!").strip("/"))
            pattern = pattern.replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
            rules.append((line.startswith("!"), re.compile(pattern + "(/.*)?")))
    return rules


def context(rules):
    """Lists the files that the engine would be sent. The last rule that matches a path decides."""
    found = []
    for folder, folders, files in os.walk(REPOSITORY):
        here = Path(folder).relative_to(REPOSITORY)
        if here == Path("."):
            folders[:] = [name for name in folders if name not in (".git", "target", "data")]
        for name in files:
            path = here / name
            verdicts = [keeps for keeps, rule in rules if rule.fullmatch(path.as_posix())]
            if not verdicts or verdicts[-1]:
                found.append(path)
    return found


def in_root(path, workdir):
    """The place in ROOT of a path of the image."""
    return ROOT / (Path("/") / workdir / path).relative_to("/")


def copy(sources, target, workdir, files):
    """Copies files of the context, as COPY does: one file, or what a folder holds."""
    into = in_root(target, workdir)
    for source in map(Path, sources):
        inside = [file for file in files if source in file.parents]
        if source not in files and not inside:
            sys.exit(f"COPY {source}: no such file in what .dockerignore lets in")
        for file in inside:
            place(file, into / file.relative_to(source))
        if source in files:
            place(source, into / source.name if target.endswith(("/", ".")) else into)


def place(file, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(REPOSITORY / file, target)


def main():
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    files = context(ignore_rules((REPOSITORY / ".dockerignore").read_text()))
    environment = dict(os.environ, CARGO_TARGET_DIR=str(REPOSITORY / "target"))
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    stage, workdir = 0, "/"
    for instruction, rest in instructions((REPOSITORY / "Dockerfile").read_text()):
        options = re.match(r"(--\S+\s+)*", rest).group()
        rest = rest[len(options):]
        print(f"{instruction} {options}{rest}", flush=True)
        if instruction == "FROM":
            stage, workdir = stage + 1, "/"
        elif instruction == "WORKDIR":
            workdir = os.path.join(workdir, rest)
            in_root(workdir, "/").mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY" and "--from=" in options:
            for source in rest.split()[:-1]:
                if not in_root(source, "/").exists():
                    sys.exit(f"COPY {options}{source}: the build stage does not write it")
        elif instruction == "COPY":
            *sources, target = rest.split()
            copy(sources, target if stage == 1 else "/later-stage/", workdir, files)
        elif stage == 1 and instruction in ("ENV", "ARG"):
            name, value = rest.split("=", 1)
            environment[name] = given.get(name, value) if instruction == "ARG" else value
        elif stage == 1 and instruction == "RUN":
            step = subprocess.run(["sh", "-c", rest], cwd=in_root(workdir, "/"), env=environment)
            if step.returncode != 0:
                sys.exit(f"RUN failed with status {step.returncode}")
        elif stage == 1:
            sys.exit(f"the build stage uses {instruction}, which this script does not know")
    print("all steps of the image pass")


main()
