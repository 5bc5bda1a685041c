"""The only room that opens files for writing: each file and folder is whole, verified, or not there.

Nothing heavy is imported here; NumPy, torch and safetensors are imported by the functions that need them.
"""

from lamina.io.arrays import pack_arrays, pack_tensors, tensor_pieces, unpack_arrays, unpack_metadata, unpack_tensors
from lamina.io.atomic import append_to, make_folder, publish, remove, sweep, write_file
from lamina.io.foreign import refuse_foreign
from lamina.io.generation import Generation, read_generation, read_manifest, write_generation
from lamina.io.generations import Generations
from lamina.io.lock import Lock, lock_folder
from lamina.io.records import Records, append_record, read_records, truncate_records
from lamina.io.runfolder import check_name, check_run_name, clean_name, new_numbered
from lamina.io.strict_json import dump_json, read_json, write_json
from lamina.io.toml import dump_toml, read_toml, write_toml

__all__ = [
    "Generation",
    "Generations",
    "Lock",
    "Records",
    "append_record",
    "append_to",
    "check_name",
    "check_run_name",
    "clean_name",
    "dump_json",
    "dump_toml",
    "lock_folder",
    "make_folder",
    "new_numbered",
    "pack_arrays",
    "pack_tensors",
    "publish",
    "read_generation",
    "read_json",
    "read_manifest",
    "read_records",
    "read_toml",
    "refuse_foreign",
    "remove",
    "sweep",
    "tensor_pieces",
    "truncate_records",
    "unpack_arrays",
    "unpack_metadata",
    "unpack_tensors",
    "write_file",
    "write_generation",
    "write_json",
    "write_toml",
]
