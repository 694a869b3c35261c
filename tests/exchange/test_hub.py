"""Networks to and from a hub: folder or repository, card, checked hashes, and a sentence for what goes wrong."""

import functools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import PIL.Image
import pytest
from huggingface_hub import errors

from dnnlib.errors import UserError
from dnnlib.files import sha256
from dnnlib.remote import hugging_face
from dnnlib.remote.hugging_face import HubAddress
from dnnlib.remote.locations import resolve
from exchange.hub import main
from exchange.model_card import licence_id
from tests.support import commands
from tests.support.networks import small_generator, write_network

FILES = ["README.md", "manifest.json", "network.safetensors"]


class FakeApi:
    """A hub whose repositories are the folders of `root`; `failure` is raised by every call."""

    root, failure, private = None, None, {}

    def create_repo(self, repo_id, *, private, exist_ok):
        self._fail()
        assert exist_ok
        (self.root / repo_id).mkdir(parents=True, exist_ok=True)
        self.private[repo_id] = private

    def upload_folder(self, *, repo_id, folder_path, revision, commit_message):
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)

    def list_repo_files(self, repo_id, *, revision):
        self._fail()
        return [path.name for path in self._folder(repo_id).iterdir()]

    def hf_hub_download(self, repo_id, filename, *, revision):
        self._fail()
        path = self._folder(repo_id) / filename
        if not path.exists():
            raise _answer(errors.RemoteEntryNotFoundError, 404)
        return str(path)

    def _folder(self, repo_id):
        if not (self.root / repo_id).is_dir():
            raise _answer(errors.RepositoryNotFoundError, 401)
        return self.root / repo_id

    def _fail(self):
        if self.failure is not None:
            raise self.failure


def _answer(kind, status):
    response = SimpleNamespace(status_code=status, headers={}, request=None)
    error = kind.__new__(kind)
    Exception.__init__(error, "long technical text")
    error.response = response
    return error


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeApi, "root", tmp_path / "hub")
    monkeypatch.setattr(FakeApi, "private", {})
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    return FakeApi


@pytest.fixture
def network(tmp_path):
    facts = {"licence": "CC BY-NC 4.0 (Someone)", "kimg": 3, "data": {"name": "cats", "images": 4853}}
    return write_network(tmp_path / "qc.safetensors", **facts)


done, refused = functools.partial(commands.done, main), functools.partial(commands.refused, main)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def where(kind, tmp_path):
    return "hf://owner/cats" if kind == "hub" else str(tmp_path / "shelf" / "cats")


@pytest.mark.parametrize("kind", ["hub", "folder"])
def test_what_was_pushed_comes_back_bit_for_bit(hub, network, tmp_path, kind):
    place = where(kind, tmp_path)
    assert sha256(network)[:12] in done("push", network, place)
    assert "as the manifest says" in done("pull", place, "-o", tmp_path / "pulled")
    assert names(tmp_path / "pulled") == FILES
    assert (tmp_path / "pulled" / "network.safetensors").read_bytes() == network.read_bytes()
    card = (tmp_path / "pulled" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-nc-4.0\nlibrary_name: qc-stylegan\ntags:\n")
    assert f"\n# {'cats' if kind == 'hub' else 'QC-StyleGAN, 16x16'}\n" in card
    for part in ("quality code of 4 numbers", "16x16", "3 kimg", "cats, 4,853 images", "CC BY-NC 4.0 (Someone)"):
        assert part in card
    assert sha256(network) in card and "| b16 | 16 | 16 | 2 |" in card and "127.5" in card and "Not measured." in card
    used = place if kind == "hub" else "network.safetensors"
    assert (
        f"qc-stylegan generate --network={used} --seeds=0-7 --quality=random" in card
        and "do not identify anybody" in card
    )
    shelf = hub.root / "owner" / "cats" if kind == "hub" else Path(place)
    assert "![Images of this network](samples.png)" in card
    assert PIL.Image.open(shelf / "samples.png").size == (6 * 16, 2 * 16)


def test_a_pushed_network_is_a_location(hub, network):
    done("push", network, "hf://owner/cats", "--private")
    assert hub.private == {"owner/cats": True}
    for location in ("hf://owner/cats", "hf://owner/cats@main", "hf://owner/cats/network.safetensors"):
        assert resolve(location).read_bytes() == network.read_bytes()


def test_a_repository_with_several_networks_asks_which(hub, network):
    done("push", network, "hf://owner/cats")
    shutil.copy(network, hub.root / "owner" / "cats" / "other.safetensors")
    with pytest.raises(UserError, match="several networks; choose one: hf://owner/cats/network.safetensors, hf://"):
        resolve("hf://owner/cats")
    assert resolve("hf://owner/cats/other.safetensors").name == "other.safetensors"
    (hub.root / "owner" / "empty").mkdir()
    with pytest.raises(UserError, match="hf://owner/empty has no .safetensors file"):
        resolve("hf://owner/empty")
    with pytest.raises(UserError, match="does not have the file that was asked for"):
        resolve("hf://owner/cats/third.safetensors")


def test_results_go_into_the_card(network, tmp_path):
    record = {"network": network.name, "quality": "sharp", "values": {"fid5k_full": 12.25}}
    (tmp_path / "metric-fid5k_full.jsonl").write_text(json.dumps(record) + "\n")
    done("push", network, tmp_path / "a")
    assert "| fid5k_full sharp | 12.25 |" in (tmp_path / "a" / "README.md").read_text()
    (tmp_path / "results.json").write_text('{"kid": 0.5}')
    done("push", network, tmp_path / "b", f"--results={tmp_path / 'results.json'}")
    card = (tmp_path / "b" / "README.md").read_text()
    assert "| kid | 0.5 |" in card and "fid5k_full" not in card


def test_a_network_needs_a_licence(tmp_path):
    network = write_network(tmp_path / "plain.safetensors", small_generator(), licence="")
    done("push", network, tmp_path / "a", '--licence=My "own" one')
    card = (tmp_path / "a" / "README.md").read_text()
    assert 'license: other\nlicense_name: "My \\"own\\" one"\n' in card and "--quality" not in card


@pytest.mark.parametrize(
    ("licence", "name"),
    [
        ("CC BY-NC 4.0 (AFHQ)", "cc-by-nc-4.0"),
        ("CC BY-SA 3.0", "cc-by-sa-3.0"),
        ("CC BY 4.0", "cc-by-4.0"),
        ("CC0", "cc0-1.0"),
        ("Apache-2.0", "apache-2.0"),
        ("ask me", "other"),
    ],
)
def test_licences_have_the_hubs_names(licence, name):
    assert licence_id(licence) == name


@pytest.mark.parametrize("kind", ["hub", "folder"])
def test_a_changed_network_is_refused(hub, network, tmp_path, kind):
    place = where(kind, tmp_path)
    done("push", network, place)
    stored = (hub.root / "owner" / "cats" if kind == "hub" else Path(place)) / "network.safetensors"
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    sentence = refused("pull", place, "-o", tmp_path / "pulled")
    assert f"its manifest says {sha256(network)[:12]}" in sentence and not (tmp_path / "pulled").exists()


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (errors.LocalTokenNotFoundError("x"), "needs a token, and there is none; run `hf auth login` or set HF_TOKEN"),
        (errors.LocalEntryNotFoundError("x"), "cannot reach the hub for hf://owner/cats; check the network connection"),
        (errors.HTTPError("x"), "cannot reach the hub for hf://owner/cats; check the network connection"),
        (_answer(errors.RevisionNotFoundError, 404), "has no revision v9; choose another, or leave it out"),
        (_answer(errors.HfHubHTTPError, 403), "does not allow this for hf://owner/cats (HTTP 403); give a token"),
        (_answer(errors.HfHubHTTPError, 500), "the hub refuses hf://owner/cats (HTTP 500); try again later"),
        (errors.HFValidationError("x"), "hf://owner/cats names no repository of the hub; write hf://owner/name"),
    ],
)
def test_what_the_hub_has_against_it_is_one_sentence(hub, network, tmp_path, monkeypatch, failure, sentence):
    monkeypatch.setattr(hub, "failure", failure)
    revision = "@v9" if "v9" in sentence else ""
    sentence = sentence.replace("hf://owner/cats", f"hf://owner/cats{revision}")
    assert sentence in refused("push", network, f"hf://owner/cats{revision}")
    assert sentence in refused("pull", f"hf://owner/cats{revision}", "-o", tmp_path / "pulled")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://owner/name", HubAddress("owner/name")),
        ("hf://owner/name@v1.0", HubAddress("owner/name", "v1.0")),
        ("hf://o-w/n.a_me/deep/file.safetensors", HubAddress("o-w/n.a_me", None, "deep/file.safetensors")),
        ("hf://owner/name@main/file", HubAddress("owner/name", "main", "file")),
    ],
)
def test_addresses_are_read(text, address):
    assert hugging_face.parse(text) == address


PATHS = [f"hf://owner/name/{path}" for path in ("../x", "a/../x", "a//x", "/x", "a/")]


@pytest.mark.parametrize(
    "text", ["hf://", "hf://owner", "hf://owner/", "hf:///name", "hf://owner/name@", "hf://o /n", *PATHS]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UserError, match="names no repository of the hub; write hf://owner/name"):
        hugging_face.parse(text)


# What is refused.

RESULTS = ["{", "[1]", '{"a": "b"}', '{"a": true}']
MANIFESTS = ["{", "[]", '{"format_version": 1, "files": {}}', '{"format_version": 2, "files": 3}']


@pytest.fixture(scope="module")
def goods(tmp_path_factory):
    """Return a folder with networks and much that is none; no test changes it."""
    folder = tmp_path_factory.mktemp("goods")
    write_network(folder / "unlicensed.safetensors", licence="")
    (folder / "file").write_text("")
    for number, text in enumerate(RESULTS):
        (folder / f"results{number}.json").write_text(text)
    later = folder / "later"
    done("push", write_network(folder / "qc.safetensors", licence="CC0"), later)
    manifest = (later / "manifest.json").read_text()
    (later / "manifest.json").write_text(manifest.replace('"format_version": 1', '"format_version": 2'))
    for number, text in enumerate(MANIFESTS):
        shutil.copytree(later, folder / f"damaged{number}")
        (folder / f"damaged{number}/manifest.json").write_text(text)
    return folder


@pytest.fixture
def shelves(hub, goods, monkeypatch):
    """Go to that folder; a hub has a repository without a network."""
    monkeypatch.chdir(goods)
    (hub.root / "owner" / "other").mkdir(parents=True)


NO_HUBS = ["ftp://host/cats", "https://host/cats"]
REFUSALS = {
    "push qc.safetensors a --private": "--private has no effect on the folder",
    "push qc.safetensors hf://owner/cats/mine.safetensors": "so write hf://owner/cats",
    "push no.safetensors a": "does not exist",
    "push qc.safetensors file": "cannot be made",
    "push unlicensed.safetensors a": "states no licence; give that of its training data",
    **{f"push qc.safetensors a --results=results{number}.json": "--results=" for number in range(len(RESULTS))},
    **{
        f"push qc.safetensors {address}": f"{address} is no hub; write hf://owner/name, or a fol" for address in NO_HUBS
    },
    **{f"pull {address} -o pulled": f"{address} is no hub; write hf://owner/name, or a folder" for address in NO_HUBS},
    "pull . -o pulled": "manifest.json is missing",
    "pull no -o pulled": "no folder that a network was pushed to",
    "pull hf://owner/other -o pulled": "no repository that a network was pushed to",
    "pull hf://owner/no -o pulled": "hf://owner/no is not there, or is private",
    "pull later -o pulled": "has format version 2, this program reads 1",
    **{f"pull damaged{number} -o pulled": "manifest.json of" for number in range(len(MANIFESTS))},
}


@pytest.mark.parametrize("arguments", REFUSALS)
def test_refusals(shelves, arguments):
    before = sorted(Path().iterdir())
    assert REFUSALS[arguments] in refused(*arguments.split())
    assert sorted(Path().iterdir()) == before
