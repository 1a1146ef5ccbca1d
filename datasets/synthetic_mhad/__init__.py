"""Synthetic recordings of the 27 UTD-MHAD actions, in the authors' raw layout.

synthetic_mhad.write("OUT", trials=1, size=(96, 128))             # raw files
builder = synthetic_mhad.prepare(data_dir, trials=1, size=(96, 128))
records = builder.as_data_source("s1+s3")
"""

from datasets.synthetic_mhad.preparing import prepare, write

__all__ = ["prepare", "write"]
