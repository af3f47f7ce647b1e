"use strict";

const element = id => document.getElementById(id);
const SHOWN = 5;

// What the worker does.

let worker = null, lastId = 0, pending = new Map();

function start() {
    worker = new Worker("worker.js", { type: "module" });
    worker.onmessage = ({ data }) => {
        if (data.fatal) return fail(`the computation stopped (${data.error}), probably for want of memory`);
        const request = pending.get(data.id);
        if (data.about || data.done || data.error) pending.delete(data.id);
        if (data.error) request.reject(new Error(data.error));
        else if (data.about || data.done) request.resolve(data.about);
        else request.part(data);
    };
    worker.onerror = event => {
        event.preventDefault();
        fail(`worker.js could not be run (${event.message || "it or what it imports is missing"}): is the folder complete, and the browser of 2023 or later?`);
    };
}

// After a trap: all that was asked for fails, and what is asked for next gets a new worker.
function fail(message) {
    const failed = pending;
    worker.terminate();
    [worker, loaded, pending] = [null, null, new Map()];
    for (const request of failed.values()) request.reject(new Error(message));
}

function ask(message, part = () => {}) {
    if (!worker) start();
    return new Promise((resolve, reject) => {
        const id = ++lastId;
        pending.set(id, { resolve, reject, part });
        worker.postMessage({ id, ...message });
    });
}

// What is shown: the model in use, the photo, and what is known of the answer.

let model = null, loaded = null, photo = null, answer = {};

// Of each kind the latest counts: what came before it is dropped when it comes back.
const turns = { model: 0, photo: 0, answer: 0 };

function say(text) {
    element("status").textContent = text;
}

function complain(text) {
    element("error").textContent = text;
    element("error").hidden = false;
    element("results").setAttribute("aria-busy", "false");
    say(model && photo && answer.done ? summary() : "No answer yet");
}

async function load(next) {
    next.about = await ask({ model: { bytes: next.bytes, reference: next.reference, labels: next.labels } });
    loaded = model = next;
    const { width, height, labels, instructionSet } = next.about;
    const kernels = instructionSet ? `INT8 with ${instructionSet}` : "a float model, in FP32";
    element("about").textContent = `In use: ${next.name}, ${size(next.bytes.length)}, ${width}\u00a0×\u00a0${height} pixels, ${labels.length} classes, ${kernels}.`;
}

// Whether the model is in use now.
async function use(name, read) {
    const now = ++turns.model;
    element("error").hidden = true;
    say("Loading the model");
    try {
        const next = await read();
        if (now !== turns.model) return false;
        await load({ name, ...next });
    } catch (error) {
        const stays = model ? ` ${model.name} stays in use.` : "";
        if (now === turns.model) complain(`${name}: ${sentence(error.message)} Choose a .tflite file of an image classifier, quantized or float, or one compiled to .mb8.${stays}`);
        return false;
    }
    if (now === turns.model) await classify();
    return true;
}

async function classify() {
    if (!model) return;
    if (!photo) return say("Choose a photo");
    const now = ++turns.answer, { name, bytes } = photo;
    element("error").hidden = true;
    element("results").setAttribute("aria-busy", "true");
    say("Computing");
    const fresh = {};
    try {
        if (loaded !== model) await load(model);
        await ask({ photo: bytes }, part => {
            if (now !== turns.answer) return;
            Object.assign(fresh, part);
            answer = fresh;
            show();
        });
    } catch (error) {
        if (now !== turns.answer) return;
        // What is shown must not look like the answer for it.
        photo = null;
        element("answer").hidden = true;
        showCamera(false);
        complain(`${name}: ${sentence(error.message)} Choose a JPEG, PNG, WebP, GIF or BMP file.`);
        return;
    }
    if (now !== turns.answer) return;
    answer.done = true;
    show();
    say(summary());
    element("results").setAttribute("aria-busy", "false");
}

function sentence(text) {
    return /[.!?]$/.test(text) ? text : `${text}.`;
}

function size(bytes) {
    return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)}\u00a0kB` : `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
}

// Numbers.

const digits = (value, count) => value.toFixed(count).replace("-", "−");
const milliseconds = value => `${value.toPrecision(value < 100 ? 2 : 3).replace(/e.*/, "")}\u00a0ms`;
const best = scores => scores.reduce((best, score, at) => (score > scores[best] ? at : best), 0);

// Whether scores are the shares of a SOFTMAX; other networks give numbers of any size.
function areShares(scores) {
    const sum = scores.reduce((sum, score) => sum + score, 0);
    return scores.every(score => score >= 0 && score <= 1) && Math.abs(sum - 1) < 0.1;
}

const score = (value, shares) => (shares ? `${digits(100 * value, 1)}\u00a0%` : digits(value, 2));

function summary() {
    const { labels } = model.about, { int8, fp32 } = answer;
    const told = run => `${labels[best(run.scores)]}, ${score(Math.max(...run.scores), areShares(run.scores))}`;
    if (!int8 || !fp32) return sentence(told(int8 ?? fp32));
    const [a, b] = [best(int8.scores), best(fp32.scores)];
    return a === b ? `${told(int8)} in INT8, ${score(fp32.scores[b], areShares(fp32.scores))} in FP32.` : `INT8 says ${told(int8)}; FP32 says ${told(fp32)}.`;
}

// The answer as a table.

function make(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
}

function meter(kind, label, value, scale, shares) {
    const cell = make("td", "", { class: kind });
    if (value === undefined) {
        cell.textContent = answer.done ? "–" : "…";
        return cell;
    }
    const text = score(value, shares);
    const bar = make("div", "", { role: "meter", "aria-label": `${label}, ${kind.toUpperCase()}`, "aria-valuemin": Math.min(0, value), "aria-valuemax": scale,
        "aria-valuenow": value, "aria-valuetext": text, "data-value": value });
    bar.append(make("span", text));
    bar.style.setProperty("--share", Math.max(0, value) / scale);
    cell.append(bar);
    return cell;
}

function show() {
    const { int8, fp32 } = answer, { labels } = model.about;
    const known = [int8, fp32].filter(Boolean);
    const shares = known.every(run => areShares(run.scores));
    const top = index => Math.max(...known.map(run => run.scores[index]));
    const scale = shares ? 1 : Math.max(...known.flatMap(run => [...run.scores].map(Math.abs)), 1e-30);
    const order = labels.map((_, index) => index).sort((a, b) => top(b) - top(a));
    const all = element("all").getAttribute("aria-expanded") === "true";
    const rows = order.slice(0, all ? order.length : SHOWN).map(index => {
        const row = make("tr", "", { "data-index": index });
        const [a, b] = [int8?.scores[index], fp32?.scores[index]];
        const difference = a === undefined || b === undefined ? "" : digits((shares ? 100 : 1) * (a - b), shares ? 1 : 2);
        row.append(make("th", labels[index], { scope: "row" }), meter("int8", labels[index], a, scale, shares), meter("fp32", labels[index], b, scale, shares),
            make("td", /^[^−]*[1-9]/.test(difference) ? `+${difference}` : difference.replace(/^−(?=[0.]*$)/, "")));
        return row;
    });
    element("scores").tBodies[0].replaceChildren(...rows);
    element("scores").caption.textContent = shares ? "Share that each class gets; differences are INT8 less FP32, in points." : "Scores as the network gives them; differences are INT8 less FP32.";
    element("all").hidden = labels.length <= SHOWN;
    element("all").textContent = all ? `The first ${SHOWN} classes alone` : `All ${labels.length} classes`;
    times();
    element("answer").hidden = false;
}

function times() {
    const { int8, fp32 } = answer, list = [];
    const entry = (kind, term, value, detail) => {
        const group = make("div", "", { class: kind });
        group.append(make("dt", term), make("dd", value), make("dd", detail, { class: "soft" }));
        list.push(group);
    };
    for (const [kind, run] of Object.entries({ int8, fp32 })) {
        if (run) entry(kind, kind.toUpperCase(), milliseconds(run.median), `first run ${milliseconds(run.first)}`);
    }
    if (int8 && fp32) {
        const ratio = fp32.median / int8.median;
        entry("ratio", "Ratio", `${ratio.toPrecision(2)}\u00a0×`, "FP32 / INT8");
    }
    element("times").replaceChildren(...list);
    const run = int8 ?? fp32;
    const notes = [`The photo has ${run.width}\u00a0×\u00a0${run.height} pixels: decoded in ${milliseconds(run.decode)}, made the input in ${milliseconds(run.prepare)}.`,
        `Times are the median of ${run.runs} runs on one thread.`];
    if (model.about.withoutFp32) notes.push(`Not in FP32: ${sentence(model.about.withoutFp32)}`);
    else if (int8) notes.push(model.reference ? "FP32 is the float model that INT8 was converted from." : "FP32 is this model with its own weights dequantized.");
    element("notes").textContent = notes.join(" ");
}

element("all").onclick = () => {
    element("all").setAttribute("aria-expanded", element("all").getAttribute("aria-expanded") !== "true");
    show();
};

// Models: those that ship, and files.

let own = { file: null, labels: null };

async function fetched(path) {
    const response = await fetch(path);
    if (!response.ok) throw new Error(`${path} could not be fetched (${response.status}): is the folder complete?`);
    return new Uint8Array(await response.arrayBuffer());
}

async function shipped(name) {
    const [bytes, reference, labels] = await Promise.all([name, "float.tflite", "labels.txt"].map(file => fetched(`models/${file}`)));
    return { bytes, reference, labels: new TextDecoder().decode(labels) };
}

async function bytesOf(file) {
    return new Uint8Array(await file.arrayBuffer());
}

async function fromFiles({ file, labels }) {
    const bytes = await bytesOf(file);
    if (!labels) return { bytes };
    try {
        return { bytes, labels: new TextDecoder("utf-8", { fatal: true }).decode(await bytesOf(labels)) };
    } catch (error) {
        throw new Error(`its labels, ${labels.name}, cannot be read as UTF-8 text (${error.message})`);
    }
}

async function useChosen() {
    const name = element("model").value;
    element("own").hidden = name !== "own";
    if (name !== "own") return use(name, () => shipped(name));
    if (own.file) return use(own.file.name, () => fromFiles(own));
}

// One after the other, since labels belong to the model before them. Files that are refused are forgotten.
let before = Promise.resolve();

function useOwn(part, file) {
    return (before = before.then(() => useNext(part, file)));
}

async function useNext(part, file = null) {
    const labels = part === "file" && own.file ? null : own.labels;
    const next = { ...own, labels, [part]: file };
    if (!next.labels) element("labels").value = "";
    element("model").value = "own";
    element("own").hidden = false;
    if (!next.file || (await use(next.file.name, () => fromFiles(next)))) own = next;
}

element("model").onchange = useChosen;
element("file").onchange = ({ target }) => useOwn("file", target.files[0]);
element("labels").onchange = ({ target }) => useOwn("labels", target.files[0]);

// Photos: files, test images, and frames of the camera.

let sample = null, stream = null;

function press(button) {
    sample?.setAttribute("aria-pressed", "false");
    button?.setAttribute("aria-pressed", "true");
    sample = button;
}

async function usePhoto(name, blob) {
    const now = ++turns.photo;
    try {
        const bytes = await bytesOf(blob);
        if (now !== turns.photo) return;
        photo = { name, bytes };
    } catch (error) {
        return complain(`${name}: ${sentence(error.message)}`);
    }
    closeCamera();
    const preview = element("preview");
    URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(blob);
    preview.alt = `The photo: ${name}`;
    showCamera(false);
    await classify();
}

for (const button of document.querySelectorAll("#samples button")) {
    button.setAttribute("aria-pressed", "false");
    button.onclick = async () => {
        const image = button.querySelector("img");
        press(button);
        try {
            const bytes = await fetched(image.getAttribute("src"));
            if (sample === button) await usePhoto(`test image, ${image.alt}`, new Blob([bytes], { type: "image/jpeg" }));
        } catch (error) {
            complain(sentence(error.message));
        }
    };
}

element("choose").onclick = () => element("photo").click();
element("photo").onchange = ({ target }) => {
    const [file] = target.files;
    // So that the same file can be chosen again.
    if (file) openFile(file);
    target.value = "";
};

// What a file is for, by its name.
function openFile(file) {
    if (/\.(tflite|mb8)$/i.test(file.name)) return useOwn("file", file);
    if (/\.txt$/i.test(file.name)) return useOwn("labels", file);
    press(null);
    return usePhoto(file.name, file);
}

for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, event => {
        event.preventDefault();
        element("drop").classList.toggle("over", kind === "dragover");
        if (kind === "drop") [...event.dataTransfer.files].forEach(openFile);
    });
}

const CAMERA = {
    NotAllowedError: "The camera may not be used: allow it for this page in the browser, then try again.",
    NotFoundError: "There is no camera: choose a photo instead.",
};

element("camera").onclick = async () => {
    element("error").hidden = true;
    if (!navigator.mediaDevices) return complain("The camera needs a page from localhost or over https: choose a photo instead.");
    try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
        return complain(CAMERA[error.name] ?? `The camera could not be used: ${sentence(error.message)}`);
    }
    element("video").srcObject = stream;
    await element("video").play();
    showCamera(true);
    element("shoot").focus();
};

element("shoot").onclick = () => {
    const video = element("video"), canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    press(null);
    canvas.toBlob(blob => blob && usePhoto("from the camera", blob), "image/png");
};

element("stop").onclick = () => closeCamera();

function closeCamera() {
    if (!stream) return;
    for (const track of stream.getTracks()) track.stop();
    stream = element("video").srcObject = null;
    const held = ["shoot", "stop"].includes(document.activeElement?.id);
    showCamera(false);
    if (held) element("camera").focus();
}

function showCamera(on) {
    for (const id of ["video", "shoot", "stop"]) element(id).hidden = !on;
    element("camera").hidden = on;
    element("preview").hidden = on || !photo;
    element("hint").hidden = on || Boolean(photo);
}

if (location.protocol === "file:") {
    complain("Browsers run no WebAssembly from files: serve the folder, for example with python3 -m http.server, and open it by http.");
} else {
    useChosen();
    document.querySelector("#samples button").click();
}
