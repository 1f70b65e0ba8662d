# The part that is used of it; the package itself is in the environment for models, not in the one that checks.
from typing import Any

class _Lfs:
    sha256: str

class _Sibling:
    rfilename: str
    size: int | None
    blob_id: str | None
    lfs: _Lfs | None

class _ModelInfo:
    sha: str | None
    siblings: list[_Sibling] | None

class _Metadata:
    location: str

class HfApi:
    def model_info(self, repo_id: str, *, files_metadata: bool = ...) -> _ModelInfo: ...

def get_hf_file_metadata(url: str) -> _Metadata: ...
def hf_hub_url(repo_id: str, filename: str, *, revision: str) -> str: ...
def try_to_load_from_cache(repo_id: str, filename: str, *, revision: str) -> Any: ...
