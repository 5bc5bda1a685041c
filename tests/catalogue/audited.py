"""Load, predict, evaluate and report twice under an audit hook; prints what it saw that it should not have, as JSON.

Permitted are Python's byte code, the null device, and, in the first round only, what libraries do while they import the
rest of themselves: compiling their own text, and making the cache folders of torch and matplotlib below /tmp.

    python audited.py FOLDER RUN INPUT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> int:
    folder, run, source = sys.argv[1:]
    os.chdir(folder)
    # everything that the work needs is imported first, so that what is compiled or opened later is lamina's own doing
    import matplotlib.pyplot
    import pyarrow.csv
    import pyarrow.parquet
    import sklearn.metrics
    import torch

    import lamina.cli.evaluate
    from lamina.cli.main import main as command_line

    assert matplotlib.pyplot and pyarrow.csv and pyarrow.parquet and sklearn.metrics and torch and lamina
    here, seen, counts = Path.cwd(), [], {}
    state = {"first": True}  # the first round, in which libraries still import parts of themselves
    library = [Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), Path(os.__file__).parent.resolve()]
    source_code = Path(lamina.__file__).parent.resolve()

    def allowed_to_write(path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a file descriptor that is open already
        place = Path(os.path.realpath(os.fsdecode(path)))
        if place.suffix == ".pyc" or "__pycache__" in place.parts:
            return True  # Python's byte code
        if state["first"] and place.is_relative_to("/tmp") and place.name.startswith(("torchinductor_", "matplotlib-")):
            return True  # caches of torch and matplotlib, made by their import
        return place.is_relative_to(here) or str(place) == os.devnull

    def code_of_a_library(name: object) -> bool:
        text = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else ""
        place = Path(text)
        if place.is_absolute():
            return any(place.resolve().is_relative_to(one) for one in [*library, source_code])
        # the package's templates, dataclasses, named tuples and frozen modules are compiled from their own text
        return text.startswith(("<frozen", "<string>", "<unknown>", "<template>")) or text.endswith(".j2")

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        counts[event] = counts.get(event, 0) + 1
        if event.startswith(
            ("pickle.", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.", "http.")
        ):
            seen.append([event, repr(arguments)[:200]])
        elif event in {
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "subprocess.Popen",
            "os.startfile",
            "ctypes.dlopen",
            "marshal.loads",
        }:
            name = arguments[0] if arguments else None
            if event == "marshal.loads" or (event == "ctypes.dlopen" and (name is None or code_of_a_library(name))):
                return  # byte code and native parts of libraries imported late
            seen.append([event, repr(arguments)[:200]])
        elif event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and bool(
                flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            )
            if (writes or any(letter in str(mode or "") for letter in "wax+")) and not allowed_to_write(path):
                seen.append([event, repr(arguments)[:200]])
        elif event in {
            "os.rename",
            "os.mkdir",
            "os.remove",
            "os.rmdir",
            "os.link",
            "os.symlink",
            "shutil.move",
            "os.truncate",
        }:
            paths = [one for one in arguments[:2] if isinstance(one, str | bytes | os.PathLike)]
            if not all(allowed_to_write(one) for one in paths):
                seen.append([event, repr(arguments)[:200]])
        elif event == "import":
            name = str(arguments[0]).split(".")[0]
            if name in {"evil_module", "evil"}:
                seen.append([event, repr(arguments)[:200]])
        elif event in {"compile", "exec"}:
            if state["first"] and "evil" not in repr(arguments)[:2000]:
                return  # torch and matplotlib make named tuples and dataclasses while they are imported
            subject = arguments[1] if event == "compile" else getattr(arguments[0], "co_filename", "")
            text = arguments[0] if event == "compile" else None
            if not code_of_a_library(subject) or (isinstance(text, str | bytes) and "evil" in str(text)):
                seen.append([event, repr(arguments)[:200]])

    sys.addaudithook(hook)
    codes = []
    for _ in range(2):
        codes += [
            command_line(["predict", run, source, "-o", "out.csv", "--quiet", "--overwrite"]),
            command_line(["predict", run, source, "-o", "out.parquet", "--quiet", "--overwrite"]),
            command_line(["evaluate", run, source, "--quiet"]),
            command_line(["report", run, "--quiet"]),
        ]
        state["first"] = False
    print(
        "\n"
        + json.dumps(
            {"codes": codes, "seen": seen, "opened": counts.get("open", 0), "compiled": counts.get("compile", 0)}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
