"""The disk cache of an engine: which folder, which fingerprint, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable

from llmrt.config import EngineConfig
from llmrt.engine.kv.disk_cache import DiskCache
from llmrt.engine.kv.disk_saver import cannot_keep
from llmrt.engine.kv.disk_store import DiskStore
from llmrt.engine.loading.kv_fingerprint import fingerprint
from llmrt.engine.loading.load_model import Model
from llmrt.engine.runners.device import StepDevice
from llmrt.engine.runners.kv_pages import pages_of
from llmrt.model.kv_cache import KVCache
from llmrt.model.modules.decoder import Decoder


def open_disk_cache(
    model: Model,
    config: EngineConfig,
    decoder: Decoder,
    kv: KVCache,
    device: StepDevice | None,
    notify: Callable[[str], None],
) -> DiskCache | None:
    """The disk cache for ``kv``; None where there is to be none or cannot be, and ``notify`` is told of the latter.

    Without a path there is nothing to recognize a model by.
    """
    if not config.disk_cache or not config.prefix_caching or model.path is None:
        return None
    from llmrt.hub.prompts import prompts_folder  # with what a machine that only measures may lack
    from llmrt.hub.store import model_key

    name = fingerprint(model, config, decoder, kv)
    try:
        store = DiskStore(prompts_folder(), model_key(model.path), name, config.disk_cache)
    except OSError as error:
        notify(cannot_keep(error))
        return None
    return DiskCache(store, pages_of(kv, device), notify)
