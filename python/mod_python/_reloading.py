"""Running a changed module again, in place, so that others never see it without its names.

The module stays the same object, and so does its dictionary, which its functions have as their globals; what the source does
not set anew is kept, as ``importlib.reload`` keeps it. While the source runs, other threads see what it has got to so far.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


def run_again(module: ModuleType) -> None:
    """Run the module's new source; what fails leaves the module as it was. One thread a module at a time.

    The source is compiled, never read from bytecode: two changes within the file system's
    granularity of time would look the same there.

    Raises what reading, compiling and running raise.
    """
    spec = module.__spec__
    loader: Any = spec.loader if spec else None
    file = module.__file__ or ""
    code = loader.source_to_code(loader.get_data(file), file)
    names = module.__dict__
    before = names.copy()
    try:
        exec(code, names)
    except BaseException:
        # Name by name, and only what the source can have set: at no moment is there a module without its names, and what
        # others have set meanwhile stays.
        for name in code.co_names:
            if name in before:
                names[name] = before[name]
            else:
                names.pop(name, None)
        raise
