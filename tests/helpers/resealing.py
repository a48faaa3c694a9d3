"""Changes in sealed files by somebody who can seal them: a seal is no signature."""

import hashlib
import json
from pathlib import Path

from cde_retrievers.storage.checked_json import sealed


def read_content(path: Path) -> dict:
    """What is in a sealed file, without seal and version."""
    content = json.loads(path.read_text())
    return {key: value for key, value in content.items() if key not in ("seal", "format_version")}


def reseal(path: Path, content: dict) -> None:
    """Write the content with a seal that fits."""
    path.write_text(json.dumps(sealed(content, 1)))


def replace_listed(index: Path, name: str, content: bytes) -> None:
    """Put `content` in the place of a file of the first segment, and let the manifest vouch for it."""
    manifest = read_content(index / "index.json")
    segment = manifest["segments"][0]
    entries = [*segment["files"], *([segment["deletions"]] if segment["deletions"] else [])]
    (entry,) = (entry for entry in entries if entry["name"].startswith(name))
    (index / "segments" / segment["name"] / entry["name"]).write_bytes(content)
    entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    reseal(index / "index.json", manifest)


def without_marker(index: Path) -> None:
    """Make the index one of the release before markers: no identity, and names without a check."""
    (index / "identity.json").unlink()
    for name in ("index.json", "next.json"):
        if (index / name).exists():
            manifest = read_content(index / name)
            manifest.pop("identity")
            renames = {}
            for segment in manifest["segments"]:
                renames[index / "segments" / segment["name"]] = segment["name"][:12]
                segment["name"] = segment["name"][:12]
            renames |= {entry: entry.name[:16] for entry in (index / "contexts").iterdir()}
            for entry, short in renames.items():
                if entry.exists():
                    entry.rename(entry.with_name(short))
            reseal(index / name, manifest)
