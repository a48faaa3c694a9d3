"""Makes dtype="auto" bfloat16 on every device, in each Python that has this directory on its PYTHONPATH.

Python runs a module of this name at its start, so processes that tests start are reached as well. The library is
patched when it is imported and not before, for what a process imports is itself tested.
"""

import sys
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


class PatchedOnImport(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "cde_retrievers.encoder.device":
            return None
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            resolve = module.resolve_dtype

            @wraps(resolve)
            def resolve_dtype(dtype, device):
                return resolve("bfloat16" if dtype == "auto" else dtype, device)

            module.resolve_dtype = resolve_dtype

        spec.loader.exec_module = execute_and_patch
        return spec


sys.meta_path.insert(0, PatchedOnImport())
