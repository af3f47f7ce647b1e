// Runs the networks, so that the page stays free. Messages in: {id, model: {bytes, reference, labels}} and {id, photo}.
// Messages out, with the id of what they answer: {about} for a model; {int8}, {fp32}, then {done} for a photo; {error, fatal} for either.
import init, { Network, Photo } from "./mobileight_wasm.js";

const failed = init().then(() => null, error => new Error(`WebAssembly could not be started (${error.message}): it needs a browser of 2023 or later, and the whole folder`));
let networks = {};

// Each timing takes some milliseconds, since clocks in browsers are coarse; the median of several is given, and the first run apart.
const ENOUGH = 300, COARSE = 4, TIMINGS = 25;

function timed(run) {
    const begin = performance.now();
    run();
    return performance.now() - begin;
}

function measure(network, photo) {
    let input, scores;
    const prepare = timed(() => (input = network.prepare(photo)));
    const first = timed(() => (scores = network.run(input)));
    const once = timed(() => network.run(input));
    const repeats = Math.max(1, Math.ceil(COARSE / Math.max(once, 0.01)));
    const times = [];
    for (const begin = performance.now(); times.length < 3 || (times.length < TIMINGS && performance.now() - begin < ENOUGH); ) {
        const several = timed(() => { for (let run = 0; run < repeats; run++) network.run(input); });
        times.push(several / repeats);
    }
    input.free();
    times.sort((a, b) => a - b);
    return { scores, prepare, first, median: times[times.length >> 1], runs: times.length * repeats };
}

function load({ bytes, reference, labels }) {
    const main = new Network(bytes, labels);
    const next = { [main.isFp32 ? "fp32" : "int8"]: main };
    const { width, height, instructionSet, isFp32 } = main;
    const about = { labels: main.labels, width, height, instructionSet, isFp32 };
    // A quantized network is of use without the other.
    try {
        if (!isFp32) next.fp32 = reference ? new Network(reference, labels) : main.fp32();
    } catch (error) {
        if (isFatal(error)) throw error;
        about.withoutFp32 = error.message;
    }
    for (const network of Object.values(networks)) network.free();
    networks = next;
    return about;
}

function classify(id, bytes) {
    let photo;
    const decode = timed(() => (photo = new Photo(bytes)));
    try {
        const size = { width: photo.width, height: photo.height, decode };
        for (const [kind, network] of Object.entries(networks)) {
            postMessage({ id, [kind]: { ...measure(network, photo), ...size } });
        }
    } finally {
        photo.free();
    }
    postMessage({ id, done: true });
}

// Errors of the library leave everything as it was; after a trap the module's memory cannot be trusted.
function isFatal(error) {
    return !(error instanceof Error) || error instanceof WebAssembly.RuntimeError;
}

onmessage = async ({ data: { id, model, photo } }) => {
    try {
        const reason = await failed;
        if (reason) throw reason;
        if (model) postMessage({ id, about: load(model) });
        else classify(id, photo);
    } catch (error) {
        postMessage({ id, error: String(error?.message ?? error), fatal: isFatal(error) });
    }
};
