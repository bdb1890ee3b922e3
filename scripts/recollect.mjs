#!/usr/bin/env node
/** `recollect`: the command line of the package; builds it when its sources have changed. */

import process from "node:process";

process.argv.splice(2, 0, "build", "dist/cli.js");
await import("./run.mjs");
