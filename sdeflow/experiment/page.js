"use strict";
(() => {
  const errors = [];
  const $ = (id) => document.getElementById(id);

  function complain(text) {
    errors.push(text);
    $("message").textContent = text;
    $("message").hidden = false;
  }
  window.addEventListener("error", (event) => complain(event.message));
  window.addEventListener("unhandledrejection", (event) => complain(String(event.reason)));

  const data = JSON.parse($("data").textContent);
  const { t, names, particles: n, unit } = data;
  const frames = t.length;
  let drawn = n; // particles, the first ones
  const seconds = 10; // of a play at speed 1
  const state = {
    at: 0, playing: false, hovered: null, pinned: null, following: data.follow, stamps: [], cost: 0,
  };
  const panels = []; // {canvas, paint, note, x: positions (frames, n, 2), density}
  const colours = {};

  // ------------------------------------------------------------------------------ unpacking

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // Bytes: the high ones of all differences in time, then the low ones; modulo 2^16.
  function positions(bytes) {
    const count = bytes.length / 2, row = 2 * n;
    const levels = new Uint16Array(count), x = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      levels[i] = (bytes[i] << 8) + bytes[count + i] + (i < row ? 0 : levels[i - row]);
    }
    for (let i = 0; i < count; i++) {
      const k = Math.floor(i / row), low = data.low[k][i % 2], high = data.high[k][i % 2];
      x[i] = low + (levels[i] / 65535) * (high - low);
    }
    return x;
  }

  async function unpackDensity(packed) {
    if (!packed) return null;
    const cells = await unpacked(packed.cells);
    return { ...packed, cells, image: null, frame: -1 };
  }

  // ------------------------------------------------------------------------------ geometry

  // [centre x, centre y, half the side] of the window at a time between two saved states.
  function windowAt(at) {
    const row = state.following ? data.windows.following : data.windows.fixed;
    const k = Math.min(Math.floor(at), frames - 1), next = Math.min(k + 1, frames - 1);
    return row[k].map((value, i) => value + (at - k) * (row[next][i] - value));
  }

  function position(panel, i, at = state.at) {
    const k = Math.min(Math.floor(at), frames - 1), next = Math.min(k + 1, frames - 1);
    const x = panels[panel].x, a = 2 * (k * n + i), b = 2 * (next * n + i), w = at - k;
    return [x[a] + w * (x[b] - x[a]), x[a + 1] + w * (x[b + 1] - x[a + 1])];
  }

  // Pixels of a canvas, from a window: p = origin + scale x, with y upwards.
  function mapping(size, [cx, cy, half]) {
    const scale = size / (2 * half);
    return { scale, x: (v) => size / 2 + scale * (v - cx), y: (v) => size / 2 - scale * (v - cy) };
  }

  function pixel(panel, i) {
    const canvas = panels[panel].canvas, size = canvas.clientWidth;
    const map = mapping(size, windowAt(state.at)), [x, y] = position(panel, i);
    return [map.x(x), map.y(y)];
  }

  // ------------------------------------------------------------------------------ drawing

  function ticks(low, high) {
    const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const row = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) row.push(k * step);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    return row.map((v) => [v, (Math.abs(v) < step / 2 ? 0 : v).toFixed(digits).replace("-", "−")]);
  }

  const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));

  function drawGrid(paint, size, map, [cx, cy, half]) {
    paint.lineWidth = 1;
    paint.strokeStyle = colours.grid;
    paint.beginPath();
    for (const [v] of ticks(cx - half, cx + half)) {
      paint.moveTo(map.x(v), 0), paint.lineTo(map.x(v), size);
    }
    for (const [v] of ticks(cy - half, cy + half)) {
      paint.moveTo(0, map.y(v)), paint.lineTo(size, map.y(v));
    }
    paint.stroke();
  }

  function drawLabels(paint, size, map, [cx, cy, half]) {
    paint.font = '11px system-ui, "DejaVu Sans", sans-serif';
    paint.lineWidth = 3;
    paint.strokeStyle = colours.paper;
    paint.fillStyle = colours.soft;
    const write = (text, x, y) => { paint.strokeText(text, x, y), paint.fillText(text, x, y); };
    paint.textAlign = "center";
    for (const [v, text] of ticks(cx - half, cx + half)) {
      if (map.x(v) > 44 && map.x(v) < size - 16) write(text, map.x(v), size - 5);
    }
    paint.textAlign = "left";
    for (const [v, text] of ticks(cy - half, cy + half)) {
      if (map.y(v) > 12 && map.y(v) < size - 20) write(text, 4, map.y(v) + 4);
    }
  }

  function densityIndex(panel) {
    const density = panels[panel].density;
    return density ? density.frames.indexOf(Math.round(state.at)) : -1;
  }

  // p / (the largest p of this time) as the opacity of one colour.
  function drawDensity(panel, paint, map) {
    const density = panels[panel].density, k = densityIndex(panel);
    if (k < 0) return;
    const [nx, ny] = density.shape, [x0, y0, x1, y1] = density.boxes[k];
    if (density.frame !== k || !density.image) {
      density.image = Object.assign(document.createElement("canvas"), { width: nx, height: ny });
      const brush = density.image.getContext("2d"), image = brush.createImageData(nx, ny);
      const [r, g, b] = rgb(colours.density);
      for (let i = 0; i < nx; i++) {
        for (let j = 0; j < ny; j++) {
          const p = density.cells[(k * nx + i) * ny + j];
          image.data.set([r, g, b, 0.6 * p], 4 * ((ny - 1 - j) * nx + i));
        }
      }
      brush.putImageData(image, 0, 0);
      density.frame = k;
    }
    paint.imageSmoothingEnabled = true;
    const width = map.scale * (x1 - x0), height = map.scale * (y1 - y0);
    paint.drawImage(density.image, map.x(x0), map.y(y1), width, height);
  }

  // All of one length: they show the direction alone.
  function drawArrows(paint, map) {
    const arrows = data.arrows, k = Math.round(state.at), m = arrows.nodes;
    const bytes = state.following ? arrows.followingBytes : arrows.fixedBytes;
    const [cx, cy, half] = (state.following ? data.windows.following : data.windows.fixed)[k];
    const gap = (2 * half) / m, length = 0.62 * gap * map.scale;
    paint.strokeStyle = colours.arrow;
    paint.lineWidth = 1.2;
    paint.beginPath();
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < m; j++) {
        const at = 2 * ((k * m + i) * m + j), u = bytes[at] / 127, v = -bytes[at + 1] / 127;
        if (!u && !v) continue;
        const x = map.x(cx - half + (i + 0.5) * gap), y = map.y(cy - half + (j + 0.5) * gap);
        const [dx, dy] = [(u * length) / 2, (v * length) / 2];
        paint.moveTo(x - dx, y - dy), paint.lineTo(x + dx, y + dy);
        const [hx, hy] = [0.45 * dx, 0.45 * dy];
        paint.moveTo(x + dx - hx - hy, y + dy - hy + hx), paint.lineTo(x + dx, y + dy);
        paint.lineTo(x + dx - hx + hy, y + dy - hy - hx);
      }
    }
    paint.stroke();
  }

  // An image of the size of the canvas, whose pixels are written as 32-bit words.
  function dotsOf(panel, pixels) {
    const found = panels[panel];
    if (!found.dots || found.dots.width !== pixels) {
      found.dots = new ImageData(pixels, pixels);
      found.words = new Uint32Array(found.dots.data.buffer);
      found.layer = Object.assign(document.createElement("canvas"), { width: pixels, height: pixels });
    }
    found.words.fill(0);
    return found;
  }

  // One dot is translucent, several over each other are not. Returns how many particles lie
  // outside the window. Squares of pixels cost half the time of fillRect.
  function drawCloud(panel, paint, size, map) {
    const pixels = paint.canvas.width, ratio = pixels / size;
    const { x, dots, words, layer } = dotsOf(panel, pixels);
    const k = Math.min(Math.floor(state.at), frames - 1), next = Math.min(k + 1, frames - 1);
    const w = state.at - k, a = 2 * k * n, b = 2 * next * n;
    const side = Math.max(2, Math.round(ratio * (drawn > 2000 ? 2 : drawn > 500 ? 3 : 5)));
    const [ox, oy, scale] = [map.x(0) * ratio, map.y(0) * ratio, map.scale * ratio];
    const [r, g, bl] = rgb(panel ? colours.second : colours.first), solid = (bl << 16) | (g << 8) | r;
    const [one, more] = [(solid | 0xa8000000) >>> 0, (solid | 0xff000000) >>> 0];
    let outside = 0;
    for (let i = 0; i < 2 * drawn; i += 2) {
      const px = ox + scale * (x[a + i] + w * (x[b + i] - x[a + i]));
      const py = oy - scale * (x[a + i + 1] + w * (x[b + i + 1] - x[a + i + 1]));
      if (!(px >= 0 && py >= 0 && px <= pixels && py <= pixels)) { outside++; continue; }
      const left = Math.round(px - side / 2), top = Math.round(py - side / 2);
      const right = Math.min(left + side, pixels), bottom = Math.min(top + side, pixels);
      for (let v = Math.max(top, 0); v < bottom; v++) {
        for (let u = v * pixels + Math.max(left, 0); u < v * pixels + right; u++) {
          words[u] = words[u] ? more : one;
        }
      }
    }
    layer.getContext("2d").putImageData(dots, 0, 0);
    paint.imageSmoothingEnabled = false;
    paint.drawImage(layer, 0, 0, size, size);
    return outside;
  }

  // The path so far is a full line, the rest a dashed one.
  function drawPath(panel, paint, map, i) {
    const now = Math.floor(state.at), here = position(panel, i);
    const run = (from, to, head, tail) => {
      paint.beginPath();
      if (head) paint.moveTo(map.x(head[0]), map.y(head[1]));
      for (let k = from; k <= to; k++) {
        const [x, y] = position(panel, i, k);
        k === from && !head ? paint.moveTo(map.x(x), map.y(y)) : paint.lineTo(map.x(x), map.y(y));
      }
      if (tail) paint.lineTo(map.x(tail[0]), map.y(tail[1]));
    };
    const disc = ([x, y], radius, full) => {
      paint.beginPath();
      paint.arc(map.x(x), map.y(y), radius, 0, 2 * Math.PI);
      paint.fillStyle = full ? colours.ink : colours.paper;
      paint.fill(), paint.stroke();
    };
    paint.lineJoin = "round";
    run(now + 1, frames - 1, here, null);
    paint.setLineDash([3, 4]);
    paint.strokeStyle = colours.soft, paint.lineWidth = 1, paint.stroke();
    paint.setLineDash([]);
    run(0, now, null, here);
    paint.strokeStyle = colours.paper, paint.lineWidth = 4, paint.stroke();
    paint.strokeStyle = colours.ink, paint.lineWidth = 1.6, paint.stroke();
    disc(position(panel, i, 0), 4, false);
    disc(here, 4, true);
  }

  function draw() {
    const start = performance.now(), box = windowAt(state.at), chosen = state.pinned ?? state.hovered;
    panels.forEach(({ canvas, paint, note }, panel) => {
      const size = canvas.clientWidth, ratio = Math.min(window.devicePixelRatio || 1, 2);
      const pixels = Math.round(size * ratio), map = mapping(size, box);
      if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
      paint.setTransform(pixels / size, 0, 0, pixels / size, 0, 0);
      paint.fillStyle = colours.paper;
      paint.fillRect(0, 0, size, size);
      drawGrid(paint, size, map, box);
      if ($("density").checked) drawDensity(panel, paint, map);
      if (data.arrows && $("arrows").checked) drawArrows(paint, map);
      const outside = drawCloud(panel, paint, size, map);
      if (chosen !== null) drawPath(panel, paint, map, chosen);
      drawLabels(paint, size, map, box);
      note.textContent = noteOf(panel, outside);
    });
    tell(chosen);
    state.cost = performance.now() - start;
  }

  // ------------------------------------------------------------------------------ words

  const whole = (v) => v.toLocaleString("en");
  const short = (v) => String(Number(v.toPrecision(3))).replace("-", "−");
  const point = (x) => `(${x.map((v) => v.toFixed(3).replace("-", "−")).join(", ")})`;

  function noteOf(panel, outside) {
    const density = panels[panel].density, k = densityIndex(panel);
    const count = `${whole(drawn)} particles${outside ? `, ${whole(outside)} outside` : ""}`;
    if (!density || !$("density").checked) return count;
    return `${count}; ${k < 0 ? "no density" : `max p = ${density.peaks[k].toPrecision(3)}`}`;
  }

  function tell(chosen) {
    const k = Math.round(state.at), noise = data.noise ? `, σ/α = ${data.noise[k].toPrecision(3)}` : "";
    $("slider").value = k;
    $("now").textContent = `t = ${Number(t[k].toPrecision(4))}${noise}, state ${k + 1} of ${frames}`;
    $("slider").setAttribute("aria-valuetext", $("now").textContent);
    $("play").textContent = state.playing ? "Pause" : "Play";
    const where = (i) => names.map((name, panel) => `${name} ${point(position(panel, i))}`).join(", ");
    $("particle").textContent = chosen === null
      ? "Point at a particle, or tap it, to see its path."
      : `Particle ${whole(chosen + 1)}: ${where(chosen)}`;
  }

  function describe() {
    const pair = names.length > 1;
    $("subtitle").textContent =
      `${names.join(" and ")}, ${whole(n)} particles${pair ? " each" : ""}, ${frames} saved states`
      + ` from t = ${short(t[0])} to ${short(t[frames - 1])}`;
    const text = [`Axes: x₁ and x₂ (${unit}).`];
    if (pair) {
      text.push(data.same
        ? "A particle has the same start in both panels."
        : "The two clouds do not have the same starts.");
    }
    text.push("Between saved states, a dot moves on a straight line; when paused, it is on its saved state.");
    if (data.densities.some(Boolean)) {
      text.push("Grey: the density p at this time, darkest at its maximum (max p, in 1 / unit²).");
    }
    if (data.note) text.push(data.note);
    if (data.arrows) text.push(`Arrows: the direction of ${data.arrows.name}; their length has no meaning.`);
    text.push(`Positions are rounded to 1/${data.levels} of the cloud's width.`);
    $("caption").textContent = text.join(" ");
    for (const k of [n, 1000, 100, 10, 0].filter((k) => k === n || k < n)) {
      $("count").append(new Option(k ? whole(k) : "none", k));
    }
    $("density-switch").hidden = !data.densities.some(Boolean);
    $("arrows-switch").hidden = !data.arrows;
    $("window-switch").hidden = !data.zooms;
    $("window").checked = state.following;
    $("slider").max = frames - 1;
  }

  // ------------------------------------------------------------------------------ time

  function show(k) {
    state.playing = false;
    state.at = Math.min(Math.max(Math.round(k), 0), frames - 1);
    draw();
  }

  function play() {
    if (state.playing) return;
    if (state.at >= frames - 1) state.at = 0;
    state.playing = true;
    state.stamps = [];
    let last = null;
    const step = (now) => {
      if (!state.playing) return;
      if (last !== null) {
        state.at += (((now - last) / 1000) * Number($("speed").value) * (frames - 1)) / seconds;
        state.stamps.push(now);
      }
      last = now;
      if (state.at >= frames - 1) return show(frames - 1);
      draw();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  const pause = () => show(state.at);

  // Frames a second while it last played.
  function rate() {
    const row = state.stamps;
    return row.length < 2 ? 0 : (1000 * (row.length - 1)) / (row[row.length - 1] - row[0]);
  }

  // ------------------------------------------------------------------------------ input

  function nearest(panel, event, reach) {
    const box = panels[panel].canvas.getBoundingClientRect();
    const size = panels[panel].canvas.clientWidth, map = mapping(size, windowAt(state.at));
    const [ex, ey] = [event.clientX - box.left - 1, event.clientY - box.top - 1];
    let best = null, least = reach ** 2;
    for (let i = 0; i < drawn; i++) {
      const [x, y] = position(panel, i);
      const distance = (map.x(x) - ex) ** 2 + (map.y(y) - ey) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  function redraw() {
    if (!state.playing) draw();
  }

  function pin(i) {
    state.pinned = i, state.hovered = null;
    redraw();
  }

  function listen(canvas, panel) {
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      state.hovered = nearest(panel, event, 12);
      redraw();
    });
    canvas.addEventListener("pointerleave", () => { state.hovered = null, redraw(); });
    canvas.addEventListener("click", (event) => {
      const found = nearest(panel, event, event.pointerType === "touch" ? 28 : 12);
      pin(found === state.pinned ? null : found);
    });
  }

  const toggle = (id) => { $(id).checked = !$(id).checked, $(id).dispatchEvent(new Event("change")); };
  const other = (by) => pin(state.pinned === null ? 0 : (state.pinned + by + n) % n);
  const keys = {
    " ": () => (state.playing ? pause() : play()),
    ArrowLeft: () => show(Math.round(state.at) - 1), ArrowRight: () => show(Math.round(state.at) + 1),
    PageUp: () => show(state.at - 10), PageDown: () => show(state.at + 10),
    Home: () => show(0), End: () => show(frames - 1),
    n: () => other(1), p: () => other(-1), Escape: () => pin(null),
    d: () => toggle("density"), a: () => toggle("arrows"), w: () => data.zooms && toggle("window"),
  };

  function onKey(event) {
    const { key, target } = event;
    if (!(key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.tagName === "SELECT" || (key === " " && /BUTTON|SUMMARY/.test(target.tagName))) return;
    if (key === " " && target.type === "checkbox") return;
    event.preventDefault();
    keys[key]();
  }

  // ------------------------------------------------------------------------------ light and dark

  const night = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (night.matches ? "dark" : "light")) === "dark";

  function dress() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["paper", "ink", "soft", "first", "second", "density", "arrow", "grid"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    for (const { density } of panels) if (density) density.image = null;
    $("theme").textContent = isDark() ? "Light" : "Dark";
    draw();
  }

  // ------------------------------------------------------------------------------ start

  async function addPanel(name, panel) {
    const figure = document.createElement("figure"), caption = document.createElement("figcaption");
    const title = document.createElement("b"), note = document.createElement("span");
    const canvas = document.createElement("canvas");
    title.textContent = name;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${name}: ${n} particles in the plane`);
    caption.append(title, note), figure.append(caption, canvas), $("panels").append(figure);
    const x = positions(await unpacked(data.paths[panel]));
    const density = await unpackDensity(data.densities[panel]);
    panels[panel] = { canvas, note, x, density, paint: canvas.getContext("2d") };
  }

  async function begin() {
    if (!("DecompressionStream" in window)) {
      return complain("This browser cannot unpack the data of this page; use one of 2023 or later.");
    }
    for (const [panel, name] of names.entries()) await addPanel(name, panel);
    for (const mode of data.arrows ? ["fixed", "following"] : []) {
      if (data.arrows[mode]) data.arrows[`${mode}Bytes`] = new Int8Array((await unpacked(data.arrows[mode])).buffer);
    }
    $("panels").classList.toggle("two", names.length > 1);
    describe(), dress();
    panels.forEach(({ canvas }, panel) => listen(canvas, panel));
    $("slider").addEventListener("input", () => show($("slider").value));
    $("play").addEventListener("click", () => (state.playing ? pause() : play()));
    for (const id of ["density", "arrows"]) $(id).addEventListener("change", redraw);
    $("count").addEventListener("change", () => { drawn = Number($("count").value), redraw(); });
    $("window").addEventListener("change", () => { state.following = $("window").checked, redraw(); });
    $("theme").addEventListener("click", () => {
      document.documentElement.dataset.theme = isDark() ? "light" : "dark";
      dress();
    });
    night.addEventListener("change", dress);
    window.addEventListener("resize", redraw);
    document.addEventListener("keydown", onKey);
    Object.assign(window.sdeflow, { ready: true });
  }

  window.sdeflow = {
    ready: false, errors, frames, particles: n, show, play, pause, pin, position, pixel, rate,
    window: () => windowAt(state.at),
    get frame() { return Math.round(state.at); },
    get playing() { return state.playing; },
    get shown() { return state.pinned ?? state.hovered; },
    get cost() { return state.cost; },
  };
  begin();
})();
