/** Starts the server and sees to its end. */

import { ConfigError, describeConfig, loadConfig } from "./config.ts";
import { createContext } from "./context.ts";
import { AppError } from "./errors.ts";
import { createLogger } from "./logger.ts";
import { startServer } from "./server.ts";

/** How long runs under way may take to end once the process is told to stop (ms). */
const DRAIN_PATIENCE = 20_000;
/** npm, shells and terminals may each pass the same signal on; repeats within this time (ms) are one. */
const REPEAT_WINDOW = 1_000;

try {
  await main();
} catch (error) {
  // Whoever started the server can mend these: a line each, no stack.
  const lines = error instanceof ConfigError ? error.faults : error instanceof AppError ? [error.message] : null;
  process.stderr.write(lines ? `${lines.join("\n")}\n` : `${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const config = loadConfig(process.env);
  const log = createLogger(config.logLevel);
  for (const warning of config.warnings) {
    log.warn({}, warning);
  }
  const stop = stopSignal();

  const context = await createContext(config, log);
  const { host, port, corsOrigins, limits, introspection } = config;
  const server = await startServer({
    services: context.services,
    authenticator: context.authenticator,
    corsOrigins,
    host,
    port,
    log,
    ready: context.ready,
    limits,
    introspection,
  }).catch(async (error: unknown) => {
    await context.close(0);
    throw portError(error, port);
  });
  log.info({ settings: describeConfig(config) }, `Recollect serves on ${server.url}/graphql`);

  const signal = await stop;
  log.info({ signal }, "stopping: runs under way may end; once more stops at once");
  const closed = server.close();
  await context.close(DRAIN_PATIENCE);
  await closed;
}

/** Resolves at the first signal; a later one ends the process at once, unless it is the same one sent to a whole group of processes. */
function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = 0;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked > 0 && Date.now() - asked > REPEAT_WINDOW) {
        process.exit(1);
      }
      asked ||= Date.now();
      resolve(signal);
    };
    process.on("SIGTERM", onSignal);
    process.on("SIGINT", onSignal);
  });
}

function portError(error: unknown, port: number): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "EADDRINUSE") {
    return new AppError("CONFLICT", `Port ${port} is taken by another program. Stop that one, or choose another port with PORT.`);
  }
  return code === "EACCES"
    ? new AppError("FORBIDDEN", `Port ${port} may not be opened by this user. Choose one above 1023 with PORT.`)
    : error;
}
