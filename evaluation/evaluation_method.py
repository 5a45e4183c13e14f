"""Runs the VOST metric from the command line; ``evaluation.command`` implements it.

    python evaluation/evaluation_method.py --results_path R --dataset_path D --set val [--re] [--workers K]
    python -m evaluation.evaluation_method ...

When this file is run by its path, Python puts its folder on the module search path, not the folder above, and
``evaluation`` cannot be imported. The package is then loaded from this file's own folder, whatever the
current folder is. Worker processes run this file again as they start, and so get the package the same way.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

if not __package__:
    _folder = Path(__file__).resolve().parent
    _spec = spec_from_file_location(
        "evaluation", _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    if _spec is None or _spec.loader is None:
        raise ImportError(f"{_folder}: cannot be loaded as a package")
    sys.modules["evaluation"] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["evaluation"])

if __name__ == "__main__":
    from evaluation.signals import end_quietly_during_imports

    end_quietly_during_imports(Path(__file__).resolve().parent)

    from evaluation.command import main  # imported here, because worker processes do not need it

    raise SystemExit(main())
