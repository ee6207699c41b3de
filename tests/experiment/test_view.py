"""The page: its numbers are those of the paths, it asks for nothing, and it plays in a browser."""

import base64
import io
import json
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sdeflow as sf
from sdeflow.command import cli
from sdeflow.experiment import page_data, run, view
from sdeflow.experiment.config import Config
from sdeflow.provenance import picture_provenance
from tests.problems import f64, lopsided, randn

OU = sf.sdes.ornstein_uhlenbeck([[1.0, 0.3], [0.3, 2.0]], 1.0)
RIGHT, END, ESCAPE = "\ue014", "\ue010", "\ue00c"  # keys of WebDriver
DECAY = sf.SDE(lambda x, t: -x, None, 0.0, 1.0)


def block(text: str, name: str) -> Any:
    """A block of JSON of the page."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text)
    return json.loads(found[1])


def unpacked(text: str, dtype: str = "u1") -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


def states(data: Any, panel: int) -> np.ndarray:
    """The positions of a page, as page.js reads them."""
    high, low = unpacked(data["paths"][panel]).reshape(2, len(data["t"]), -1, 2).astype(np.uint16)
    levels = np.cumsum(high * 256 + low, axis=0, dtype=np.uint16)
    ends = np.array(data["low"])[:, None], np.array(data["high"])[:, None]
    return ends[0] + levels / 65535 * (ends[1] - ends[0])


@pytest.fixture(scope="module")
def paths() -> tuple[sf.solvers.Path, sf.solvers.Path]:
    """Five particles under noise and without it, at nine times; one starts far out."""
    x = f64([[-2.0, -1.0], [2.0, -1.5], [0.3, 1.8], [-1.5, 1.0], [9.0, 0.0]])
    times = torch.linspace(0.0, 1.0, 9, dtype=torch.float64)
    sde = sf.SDESolver("heun", times=times, seed=1).solve(OU, x, save=9)
    return sde, sf.ODESolver("heun2", times=times).solve(DECAY, x, save=9)


# ------------------------------------------------------------------------------- what it holds


def test_positions_are_rounded_to_16_bits_of_the_cloud(paths: tuple) -> None:
    data = block(view.page(*paths), "data")
    both = np.stack([path.x.numpy() for path in paths])
    span = np.ptp(both.transpose(1, 0, 2, 3).reshape(9, -1, 2), axis=1)
    for panel in (0, 1):
        wrong = np.abs(states(data, panel) - both[panel]).max(1)
        assert (wrong <= span / 131070 * (1 + 1e-6)).all()
    assert data["t"] == pytest.approx(paths[0].t.tolist())
    assert data["same"]
    other = replace(paths[1], x=paths[1].x + 1.0)
    assert not block(view.page(paths[0], other), "data")["same"]


def test_windows_hold_the_cloud_and_change_slowly() -> None:
    x = np.linspace(1.0, 0.02, 40)[:, None, None] * randn(1000, 2).numpy()
    found = page_data.windows(x)
    outside = {}
    for name, row in found["windows"].items():
        cx, cy, half = np.array(row).T[:, :, None]
        at = np.maximum(np.abs(x[..., 0] - cx), np.abs(x[..., 1] - cy))
        outside[name] = int((at > half).sum(1).max())
    assert found["follow"]
    assert outside == {"fixed": 0, "following": 0}
    sizes = np.array(found["windows"]["following"])[:, 2]
    assert (np.diff(sizes) <= 1e-9).all()
    assert sizes[-1] < 0.2 * sizes[0]
    fresh = np.linspace(1.0, 0.1, 40)[:, None, None] * randn(2000, 2).numpy().reshape(40, 50, 2)
    alone = np.log((fresh.max(1) - fresh.min(1)).max(1))
    followed = np.log(np.array(page_data.windows(fresh)["windows"]["following"])[:, 2])
    assert np.diff(followed).std() < 0.5 * np.diff(alone).std()
    far = x.copy()
    far[:, 0] *= 100.0  # one particle far from the others makes no window for itself alone
    assert page_data.windows(far)["windows"]["fixed"][0][2] < 1.3 * sizes[0]
    assert not page_data.windows(x[:2])["zooms"]


def test_densities_are_those_of_their_times_in_units_of_p(paths: tuple) -> None:
    grid = sf.Grid((-6.0, -5.0), (6.0, 7.0), (96, 192))
    p = lopsided().on_grid(grid)
    times, moved = paths[0].t[[2, 5]], p.scaled(0.5)
    history = sf.fokker_planck.DensityPath(times, (p, moved), sf.fokker_planck.Diagnostics())
    data = block(view.page(*paths, densities=(history, None)), "data")
    found, nothing = data["densities"]
    assert nothing is None
    assert found["frames"] == [2, 5]
    assert found["boxes"][1] == [-3.0, -2.5, 3.0, 3.5]
    assert found["shape"] == [32, 64]
    cells = unpacked(found["cells"]).reshape(2, 32, 64) / 255
    coarse = p.coarsen(3)
    height = coarse.mass.numpy() / coarse.grid.volume
    assert found["peaks"] == pytest.approx([height.max(), 4 * height.max()], rel=1e-6)
    assert np.abs(cells * height.max() - height).max() <= height.max() / 509
    with pytest.raises(ValueError, match=r"evolve\(\.\.\., path.t\)"):
        view.page(*paths, densities=replace(history, t=times + 0.01))


@pytest.mark.parametrize("flow", ["score", "drift", "function"])
def test_arrows_point_along_the_flow(paths: tuple, flow: str) -> None:
    normal = sf.GaussianMixture.isotropic(f64([[0.0, 0.0]]), 1.0)
    field = sf.ExactField(sf.VP(), normal)  # its score is -x at all times
    back = sf.SDE(lambda x, t: x, None, 1.0, 0.0)  # whose time runs down: it moves by -x
    given = {"score": field, "drift": back, "function": lambda x, t: -x}[flow]
    later = [replace(path, t=0.5 + path.t / 2) for path in paths]
    data = block(view.page(*later, field=given), "data")
    m = data["arrows"]["nodes"]
    units = unpacked(data["arrows"]["fixed"], "i1").reshape(9, m, m, 2) / 127
    x, y, half = data["windows"]["fixed"][4]
    steps = half * ((2 * np.arange(m) + 1) / m - 1)
    at = np.stack(np.meshgrid(x + steps, y + steps, indexing="ij"), -1)
    assert np.abs(units + at / np.linalg.norm(at, axis=-1, keepdims=True)).max() < 1 / 127
    name = {"score": "the score", "drift": "the drift", "function": "the flow"}[flow]
    assert data["arrows"]["name"] == name
    assert (data["noise"] is None) == (flow != "score")


def test_the_page_asks_for_nothing_and_says_what_made_it(paths: tuple, tmp_path: Path) -> None:
    evil = '</script><b>"&'
    text = view.page(*paths, title=evil, names=(evil, "b"), about={"seed": 7, "x": evil})
    assert text == view.page(*paths, title=evil, names=(evil, "b"), about={"seed": 7, "x": evil})
    assert block(text, "data")["names"] == [evil, "b"]
    assert text.count("</script>") == 3
    assert "{{" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|src=|url\(|fetch\(|XMLHttp|WebSocket|import\s", text)
    (tmp_path / "page.html").write_text(text)
    assert picture_provenance(tmp_path / "page.html")["seed"] == "7"
    assert "seed 7" in text.partition('<footer id="footer">')[2].partition("</footer>")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, hardly trained."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run") / "r"
    run.fit(Config(data="spiral", steps=30, batch=8, width=8, depth=1, conditional=True), out)
    return out


@pytest.mark.filterwarnings("ignore:.* of the mass reached the wall:RuntimeWarning")
def test_a_run_s_page_shows_both_motions_from_one_start(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["view", str(folder), "--n", "50", "--frames", "6", "--cells", "32", "--seed", "3"]
    cli.main(asked)
    written = Path(capsys.readouterr().out.strip())
    assert written == folder / "page.html"
    data = block(written.read_text(), "data")
    assert data["same"]
    problem = run.reopen(folder)
    assert np.allclose(states(data, 1)[0], problem.process.prior(50, 2, 3), atol=1e-3)
    assert data["t"][0] == problem.process.t_max
    assert data["t"][-1] == problem.process.t_min
    assert data["densities"][0]["frames"] == data["densities"][1]["frames"] != []
    assert data["densities"][0]["cells"] != data["densities"][1]["cells"]
    # The spiral is known: its exact density goes on where the grid does not resolve the field's.
    assert data["densities"][0]["frames"] == list(range(6))
    assert "the exact density of the data is drawn, averaged over each cell" in written.read_text()
    bare = [*asked, "--no-density", "-o", str(folder / "bare.html")]
    cli.main(bare)
    first = (folder / "bare.html").read_bytes()
    cli.main(bare)
    assert (folder / "bare.html").read_bytes() == first
    assert block((folder / "bare.html").read_text(), "data")["densities"] == [None, None]
    assert picture_provenance(written)["seed"] == "3"
    cli.main([*asked, "--no-density", "--class", "cat", "-o", str(folder / "two.html")])
    two, bare = (block((folder / f"{name}.html").read_text(), "data") for name in ("two", "bare"))
    assert two["paths"] != bare["paths"]
    assert "class cat" in (folder / "two.html").read_text()


# ------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, which keeps a log of errors and requests."""
    selenium = pytest.importorskip(
        "selenium.webdriver", reason="pip install selenium to drive a browser"
    )
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no browser; on Debian: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = selenium.ChromeService(driver)
    opened = selenium.Chrome(options=options, service=service)
    yield opened
    opened.quit()


def resize(browser: Any, width: int, scheme: str = "light") -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)


def load(browser: Any, text: str, file: Path) -> None:
    """Open a page from a file, and wait until it is drawn."""
    file.write_text(text)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(file.as_uri())
    wait(browser, "sdeflow.ready || sdeflow.errors.length > 0")


def wait(browser: Any, script: str) -> None:
    end = time.monotonic() + 60
    while not ask(browser, script):
        assert time.monotonic() < end, script
        time.sleep(0.02)


def ask(browser: Any, script: str) -> Any:
    return browser.execute_script(f"return {script}")


def requests(browser: Any) -> list[str]:
    entries = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    sent = [each for each in entries if each["method"] == "Network.requestWillBeSent"]
    return [each["params"]["request"]["url"] for each in sent]


def dot(browser: Any, panel: int, i: int) -> tuple[int, ...]:
    """The colour of the picture where the page says that a particle is."""
    canvas = browser.find_elements("css selector", "canvas")[panel]
    picture = np.array(Image.open(io.BytesIO(canvas.screenshot_as_png)).convert("RGB"))
    x, y = ask(browser, f"sdeflow.pixel({panel}, {i})")
    return tuple(int(c) for c in picture[round(y) + 1, round(x) + 1])  # 1: the border


def test_the_slider_moves_particles_to_where_the_data_are(
    browser: Any, paths: tuple, tmp_path: Path
) -> None:
    resize(browser, 800)
    load(browser, view.page(*paths), tmp_path / "page.html")
    slider = browser.find_element("id", "slider")
    for k, key, times in ((1, RIGHT, 1), (4, RIGHT, 3), (8, END, 1)):
        for _ in range(times):
            slider.send_keys(key)
        assert ask(browser, "sdeflow.frame") == k
        for panel, path in enumerate(paths):
            found = ask(browser, f"[0, 1, 2, 3, 4].map((i) => sdeflow.position({panel}, i))")
            assert np.abs(np.array(found) - path.x[k].numpy()).max() < 1e-3
            red, _, blue = dot(browser, panel, 1)
            assert (blue > red + 50) if panel == 0 else (red > blue + 50)
    assert "t = 1, state 9 of 9" in browser.find_element("id", "now").text
    assert ask(browser, "sdeflow.errors") == []
    assert browser.get_log("browser") == []
    assert requests(browser) == [(tmp_path / "page.html").as_uri()]


def test_keys_mouse_and_finger(browser: Any, paths: tuple, tmp_path: Path) -> None:
    actions = pytest.importorskip("selenium.webdriver").ActionChains
    resize(browser, 800)
    load(browser, view.page(*paths), tmp_path / "page.html")
    actions(browser).send_keys(RIGHT, "nn").perform()
    assert ask(browser, "[sdeflow.frame, sdeflow.shown]") == [1, 1]
    before = dot(browser, 0, 1)
    actions(browser).send_keys(ESCAPE).perform()
    assert ask(browser, "sdeflow.shown") is None
    assert dot(browser, 0, 1) != before  # the path is gone
    canvas = browser.find_elements("css selector", "canvas")[1]
    x, y = ask(browser, "sdeflow.pixel(1, 2)")
    size = canvas.size["width"]
    actions(browser).move_to_element_with_offset(canvas, x - size / 2, y - size / 2).perform()
    assert ask(browser, "sdeflow.shown") == 2
    words = browser.find_element("id", "particle").text
    assert words.startswith("Particle 3: SDE (")
    assert f"{float(paths[1].x[1, 2, 1]):.3f}" in words
    box = ask(browser, "document.querySelectorAll('canvas')[0].getBoundingClientRect().toJSON()")
    x, y = ask(browser, "sdeflow.pixel(0, 4)")
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for kind, at in (("touchStart", [{"x": box["x"] + x, "y": box["y"] + y}]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    wait(browser, "sdeflow.shown !== null")
    assert ask(browser, "sdeflow.shown") == 4
    browser.find_element("id", "speed").send_keys("2")
    browser.find_element("id", "play").click()
    assert ask(browser, "sdeflow.playing")
    actions(browser).send_keys(END).perform()
    assert ask(browser, "[sdeflow.playing, sdeflow.frame]") == [False, 8]


@pytest.mark.parametrize("width", [360, 800, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_desk_by_day_and_by_night(
    browser: Any, paths: tuple, tmp_path: Path, width: int, scheme: str
) -> None:
    resize(browser, width, scheme)
    load(browser, view.page(*paths), tmp_path / "page.html")
    assert ask(browser, "document.documentElement.scrollWidth") <= width
    boxes = [canvas.rect for canvas in browser.find_elements("css selector", "canvas")]
    side_by_side = boxes[0]["y"] == boxes[1]["y"]
    assert side_by_side == (width > 500)
    controls = browser.find_element("id", "controls").rect
    bottom = ask(browser, "document.getElementById('controls').getBoundingClientRect().bottom")
    assert bottom <= 800
    assert boxes[1]["y"] + boxes[1]["height"] <= controls["y"] + 1  # nothing covers a panel
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L")
    pixels = np.array(picture)
    assert (np.median(pixels) < 64) == (scheme == "dark")
    assert np.ptp(pixels) > 150
    assert len(np.unique(pixels)) > 20


@pytest.mark.slow
def test_5000_particles_at_100_times_take_5_mb_and_run_smoothly(
    browser: Any, tmp_path: Path
) -> None:
    x, walk = randn(5000, 2), sf.sdes.brownian(1.0)
    times = torch.linspace(0.0, 1.0, 100, dtype=torch.float64)
    sde = sf.SDESolver("euler", times=times, seed=1).solve(walk, x, save=100)
    grid = sf.Grid(-12.0, 12.0, (64, 64))
    start = sf.GaussianMixture.isotropic(f64([[0.0, 0.0]]), 1.0).on_grid(grid)
    text = view.page(sde, replace(sde, x=sde.x.flip(0)), sf.evolve(walk, start, times), DECAY)
    assert len(text) < 5e6
    resize(browser, 1400)
    load(browser, text, tmp_path / "page.html")
    rates = []
    for _ in range(3):  # the best of three: others may use the machine
        browser.execute_script("sdeflow.show(0); sdeflow.play()")
        time.sleep(3)
        rates.append(ask(browser, "sdeflow.rate()"))
    assert max(rates) >= 30
