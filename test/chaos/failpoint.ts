/** Loaded before the server (`node --import`): sends this process a signal when it passes a step for the n-th time. */

import { subscribe } from "node:diagnostics_channel";
import { isMainThread } from "node:worker_threads";

const { CHAOS_STEP, CHAOS_PASS = "1", CHAOS_SIGNAL = "SIGKILL" } = process.env;
let passes = 0;

// The embedded database's thread is started with the same options.
if (isMainThread && CHAOS_STEP) {
  subscribe("recollect:step", (name) => {
    if (name === CHAOS_STEP && ++passes === Number(CHAOS_PASS)) {
      process.kill(process.pid, CHAOS_SIGNAL);
    }
  });
}
