"""Where a file is: paths as they are, web addresses downloaded once and checked, and commands that take any of them."""

import hashlib
import http.server
import json
import os
import stat
from multiprocessing.pool import ThreadPool
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import generate
import train
from dnnlib.cache import cache_folder
from dnnlib.config import from_dict
from dnnlib.errors import UserError
from dnnlib.remote import locations
from dnnlib.remote.locations import NetworkFile, resolve
from dnnlib.remote.shipped import FOLDER, SHIPPED
from qc_stylegan.program import program
from tests.support.commands import all_commands
from tests.support.runs import tiny_command
from tests.support.web import serving
from training.config import TrainConfig, defining

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files` by path."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path / "cache"))
    with serving(Handler) as server:
        server.requests, server.files = [], {"/a/net.safetensors": CONTENT}
        server.url = f"{server.address}/a/net.safetensors"
        yield server


@pytest.mark.parametrize("text", ["net.safetensors", "/abs/net.safetensors", "a#sha256=zz", "../x"])
def test_a_path_comes_back_as_it_is(text):
    assert resolve(text) == Path(text) and resolve(Path(text)) == Path(text)


OTHER_SCHEMES = ["ftp://host/net", "HF://owner/name", "s3://bucket/net"]
WITHOUT_HOST = ["http://", "https:///net", "http://[::1/net", "http://host:99999/net"]
NO_CHECKSUMS = ["sha256=", "sha256=12", "sha256=xyzxyzxyz", "md5=12345678", "part"]
REFUSALS = {
    **{text: f"{text} is no location; write a path, https://host/file, or hf://owner/name" for text in OTHER_SCHEMES},
    **{text: f"{text} is no web address; give one like https://host/file" for text in WITHOUT_HOST},
    **{
        f"http://127.0.0.1:1/net#{text}": f"http://127.0.0.1:1/net#{text} ends in #{text}; "
        "write #sha256= and 8 to 64 hex digits, or nothing"
        for text in NO_CHECKSUMS
    },
}


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text):
    with pytest.raises(UserError) as caught:
        resolve(text)
    assert str(caught.value) == REFUSALS[text]


def test_blanks_and_other_letters_in_a_web_address(server):
    server.files["/a%20b/%C3%A4.safetensors"] = CONTENT
    root = server.url.removesuffix("/a/net.safetensors")
    for spelling in ("/a b/ä.safetensors", "/a%20b/%C3%A4.safetensors"):
        path = resolve(root + spelling)
        assert path.read_bytes() == CONTENT and path.name == "ä.safetensors"
    assert len(server.requests) == 1


def test_a_web_address_is_downloaded_once(server):
    path = resolve(server.url)
    assert path.read_bytes() == CONTENT and path.name == "net.safetensors"
    assert path.is_relative_to(cache_folder("networks"))
    assert resolve(server.url) == path and len(server.requests) == 1


def test_two_addresses_are_two_files(server):
    server.files["/b/net.safetensors"] = b"another"
    first, second = resolve(server.url), resolve(server.url.replace("/a/", "/b/"))
    assert first != second and first.name == second.name
    assert (first.read_bytes(), second.read_bytes()) == (CONTENT, b"another")


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", ".cache/qc-stylegan"), ("darwin", "Library/Caches/qc-stylegan"), ("win32", "AppData/Local/qc-stylegan")],
)
def test_the_cache_is_in_the_home_folder_by_default(monkeypatch, tmp_path, platform, expected):
    for name in ("QC_STYLEGAN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder("networks") == tmp_path / expected / "networks"


def test_a_variable_moves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path))
    assert cache_folder("features") == tmp_path / "features"


def test_a_file_that_changed_on_the_disk_is_downloaded_again(server, caplog):
    path = resolve(server.url)
    path.write_bytes(b"damaged")
    assert resolve(server.url).read_bytes() == CONTENT and len(server.requests) == 2
    assert "has changed since it was downloaded" in caplog.text


def test_a_checksum_is_demanded(server):
    assert resolve(f"{server.url}#sha256={SHA256}").read_bytes() == CONTENT
    assert resolve(f"{server.url}#sha256={SHA256[:8].upper()}").read_bytes() == CONTENT
    assert len(server.requests) == 1
    with pytest.raises(UserError, match=f"has the SHA-256 {SHA256[:8]} instead of {'0' * 8}"):
        resolve(f"{server.url}#sha256={'0' * 8}")
    assert resolve(server.url).read_bytes() == CONTENT  # what was right stays


def test_a_new_checksum_gets_the_new_file(server):
    resolve(server.url)
    server.files["/a/net.safetensors"] = b"new"
    digest = hashlib.sha256(b"new").hexdigest()
    assert resolve(f"{server.url}#sha256={digest}").read_bytes() == b"new"


def test_processes_that_come_at_once_download_once(server):
    with ThreadPool(4) as pool:
        paths = pool.map(resolve, [server.url] * 4)
    assert len(set(paths)) == 1 and paths[0].read_bytes() == CONTENT and len(server.requests) == 1


def test_a_missing_file_and_a_bad_cache_are_one_sentence(server, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="is not there"):
        resolve(f"{server.url}.no")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set QC_STYLEGAN_CACHE to another folder"):
        resolve(server.url)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/net.safetensors", "net.safetensors"),
        ("/a/" + "n" * 300 + ".pkl", "n" * 56 + ".pkl"),
        ("/%00%1b%2F..%2Fx", "x"),
        ("/a%0Ab", "a_b"),
        ("/..", "file"),
        ("/", "file"),
        ("", "file"),
        ("/.hidden", "hidden"),
    ],
)
def test_any_address_has_a_name_in_the_cache(path, name):
    assert locations._file_name(f"http://host{path}") == name


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"0" * 100_000])
def test_a_damaged_note_of_a_checksum_means_another_download(server, content):
    path = resolve(server.url)
    path.with_name(f"{path.name}.sha256").write_bytes(content)
    assert resolve(server.url).read_bytes() == CONTENT and len(server.requests) == 2


def test_the_cache_belongs_to_its_user_alone(server, tmp_path):
    folder = resolve(server.url).parent
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent, tmp_path / "cache")} == {0o700}
    folder.chmod(0o777)
    resolve(server.url)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe", "folder"])
def test_a_lock_that_leads_elsewhere_is_one_sentence(server, tmp_path, kind):
    lock = resolve(server.url).with_name(".lock")
    lock.unlink()
    (tmp_path / "victim").write_text("precious")
    make = {"symbolic link": lock.symlink_to, "hard link": lock.hardlink_to}
    make |= {"pipe": lambda _: os.mkfifo(lock), "folder": lambda _: lock.mkdir()}
    make[kind](tmp_path / "victim")
    with pytest.raises(UserError, match="cannot be locked .*; remove its file .lock"):
        resolve(server.url)
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_folder_of_the_cache_that_is_a_link_is_refused(server, tmp_path):
    folder = resolve(server.url).parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link or belongs to another user; set QC_STYLEGAN_CACHE"):
        resolve(server.url)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_refused(server):
    os.chown(resolve(server.url).parent, 12345, -1)
    with pytest.raises(UserError, match="is a link or belongs to another user; set QC_STYLEGAN_CACHE"):
        resolve(server.url)


# Commands.


TAKE_NETWORKS = {"network", "encoder", "init_from", "base", "qc", "degraded_base"}


def test_every_option_for_a_network_takes_a_location():
    found = set()
    for path, command in all_commands(program):
        for option in command.params:
            if option.name in TAKE_NETWORKS and path != ["import"]:  # whose network is a path
                assert isinstance(option.type, NetworkFile), (path, option.name)
                found.add(option.name)
    assert found == TAKE_NETWORKS


def test_generate_takes_an_address(server, network_files, tmp_path):
    server.files["/a/net.safetensors"] = (network_files / "qc.safetensors").read_bytes()
    flags = ["--seeds=0", "--device=cpu", f"--outdir={tmp_path / 'out'}"]
    result = CliRunner().invoke(generate.main, [f"--network={server.url}", *flags])
    assert result.exit_code == 0, result.output
    assert list((tmp_path / "out").glob("*.png"))
    result = CliRunner().invoke(generate.main, [f"--network={server.url}.no", *flags])
    assert result.exit_code == 1 and result.output.startswith("Error: ") and result.output.count("\n") == 1


def test_a_run_from_an_address_has_the_same_configuration_wherever_the_cache_is(
    server, run_files, tmp_path, monkeypatch
):
    """`defining` decides whether a command continues a run."""
    data, base = run_files
    server.files["/a/net.safetensors"] = base.read_bytes()
    arguments = tiny_command(tmp_path / "run", data, server.url, "--dry-run")[1:]
    configs = []
    for name in ("one", "two"):
        monkeypatch.setenv("QC_STYLEGAN_CACHE", str(tmp_path / name))
        result = CliRunner().invoke(train.main, arguments)
        assert result.exit_code == 0, result.output
        configs.append(from_dict(TrainConfig, json.JSONDecoder().raw_decode(result.output)[0]))
    assert configs[0].init_from != configs[1].init_from
    assert defining(configs[0]) == defining(configs[1]) and defining(configs[0]).init_from == "net.safetensors"


def test_shipped_networks_have_names(tmp_path, monkeypatch):
    """A file of the same name comes first; other words are refused with the names that there are."""
    monkeypatch.chdir(tmp_path)
    for name, file in SHIPPED.items():
        assert resolve(name) == FOLDER / file
        assert NetworkFile().convert(name, None, None) == str(FOLDER / file)
    with pytest.raises(click.ClickException) as caught:
        NetworkFile().convert("dogs", None, None)
    assert (
        caught.value.message == f"there is no file dogs; give a path, or a network of the program: {', '.join(SHIPPED)}"
    )
    for path in ("dogs.safetensors", "runs/dogs"):
        assert NetworkFile().convert(path, None, None) == path
    (tmp_path / "cats").mkdir()
    assert resolve("cats") == Path("cats")


def test_completion_downloads_nothing(server):
    context = click.Context(generate.main, resilient_parsing=True)
    assert NetworkFile().convert(server.url, None, context) == server.url and server.requests == []
