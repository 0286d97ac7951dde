"""Files of the paper account under test are in memory: a kill takes nothing from them."""

from in_memory import tmp_path as tmp_path
