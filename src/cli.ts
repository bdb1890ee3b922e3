#!/usr/bin/env node
/** `recollect`: the server and everything around it from the command line. Exits with 0, 1 when it failed, 2 for a wrong command. */

import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { migrateFromAgno } from "./cli/agno/migrate.ts";
import { chat } from "./cli/chat.ts";
import { Connection, Problem } from "./cli/connection.ts";
import { demo, SCENES, type Scene } from "./cli/demo.ts";
import { examine } from "./cli/doctor.ts";
import { addMemory, deleteMemory, listMemories, searchMemories, showMemory } from "./cli/memories.ts";
import { deleteSession, listSessions, showSession, summarizeSession } from "./cli/sessions.ts";
import { exportUser, importUser } from "./cli/transfer.ts";

const program = new Command("recollect")
  .description("A server for AI agents that remember.")
  .addOption(new Option("--url <url>", "where the server is").env("RECOLLECT_URL").default("http://localhost:7777"))
  .addOption(
    new Option("--token <token>", "an API key or web token; better in RECOLLECT_TOKEN, where no other program sees it").env(
      "RECOLLECT_TOKEN",
    ),
  )
  .addOption(new Option("--user <id>", "the user; by default whom the token names").env("RECOLLECT_USER"))
  .showHelpAfterError("(recollect --help says what there is)")
  .exitOverride();

const json = (): Option => new Option("--json", "print JSON");

program
  .command("serve")
  .description("start the server; settings come from the environment, see the README")
  .action(() => runProgram("main", "serve"));

program
  .command("keys")
  .description("make, list and revoke API keys")
  .argument("[words...]")
  .allowUnknownOption()
  .helpOption(false)
  .action(() => runProgram("keys", "keys"));

program
  .command("chat")
  .description("talk to the agent; without a message: a conversation")
  .argument("[message...]")
  .option("--session <id>", "go on with this conversation")
  .option("--agent <id>", "whom to talk to")
  .addOption(json())
  .action((words: string[], options) => chat(connect(), words, options));

const memories = program.command("memories").description("what is remembered about a user");
memories
  .command("list", { isDefault: true })
  .description("all of it, newest first")
  .option("--topic <topic...>", "only on these topics")
  .option("--text <text>", "only containing this text")
  .addOption(json())
  .action((options) => listMemories(connect(), options));
memories
  .command("search")
  .description("what fits a question, best first")
  .argument("<words...>")
  .addOption(json())
  .action((words: string[], options) => searchMemories(connect(), words.join(" "), options));
memories
  .command("add")
  .description("write one down yourself")
  .argument("<memory>")
  .option("--topic <topic...>", "its topics")
  .addOption(json())
  .action((memory: string, options) => addMemory(connect(), memory, options));
memories
  .command("show")
  .description("one, with the words it rests on and its history")
  .argument("<id>")
  .addOption(json())
  .action((id: string, options) => showMemory(connect(), id, options));
memories
  .command("delete")
  .argument("<id>")
  .addOption(json())
  .action((id: string, options) => deleteMemory(connect(), id, options));

const sessions = program.command("sessions").description("a user's conversations");
sessions
  .command("list", { isDefault: true })
  .description("all of them with their summaries, the one used last first")
  .addOption(json())
  .action((options) => listSessions(connect(), options));
sessions
  .command("show")
  .description("what was said")
  .argument("<id>")
  .addOption(json())
  .action((id: string, options) => showSession(connect(), id, options));
sessions
  .command("summarize")
  .description("bring its summary up to date")
  .argument("<id>")
  .addOption(json())
  .action((id: string, options) => summarizeSession(connect(), id, options));
sessions
  .command("delete")
  .argument("<id>")
  .addOption(json())
  .action((id: string, options) => deleteSession(connect(), id, options));

program
  .command("export")
  .description("everything stored about a user, into a file or on standard output")
  .argument("[file]")
  .action((file: string | undefined) => exportUser(connect(), file));

program
  .command("import")
  .description("take in what an export gave, for --user")
  .argument("<file>")
  .addOption(json())
  .action((file: string, options) => importUser(connect(), file, options));

program
  .command("migrate-from-agno")
  .description("bring users with memories and conversations from a Postgres that Agno wrote to")
  .requiredOption("--from <url>", "postgres://… of Agno's database")
  .option("--schema <name>", "where Agno's tables are", "ai")
  .option("--agent <id>", "who goes on with the conversations", "rag-agent")
  .option("--anonymous <id>", "whose the rows become that name no user")
  .option("--dry-run", "read and check everything, send nothing")
  .addOption(json())
  .action(async (options) => {
    const { user } = program.opts<{ user?: string }>();
    finish(await migrateFromAgno(connect(), { ...options, ...(user !== undefined && { user }) }));
  });

program
  .command("doctor")
  .description("what is missing and how to mend it")
  .addOption(json())
  .action(async (options) => finish(await examine(connect(), process.env, options)));

program
  .command("demo")
  .description(`show a running server at work: ${Object.keys(SCENES).join(", ")}, or all of them`)
  .argument("[scene]", "one of them", sceneOf)
  .action((scene: Scene | undefined) => demo(connect(), scene ? [scene] : (Object.keys(SCENES) as Scene[])));

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // It has said what is wrong; help that was asked for is no fault.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    process.stderr.write(`${error instanceof Problem ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
    process.exitCode = 1;
  }
}

function connect(): Connection {
  const { url, token, user } = program.opts<{ url: string; token?: string; user?: string }>();
  return new Connection({ url, token: token || null, user: user || null });
}

function sceneOf(name: string): Scene {
  if (!Object.hasOwn(SCENES, name)) {
    throw new InvalidArgumentError(`There are: ${Object.keys(SCENES).join(", ")}.`);
  }
  return name as Scene;
}

/** Runs a program of this package as if it had been started itself, with the words after its command. */
async function runProgram(name: "main" | "keys", command: string): Promise<void> {
  process.argv.splice(2, process.argv.indexOf(command, 2) - 1);
  await (name === "main" ? import("./main.ts") : import("./keys.ts"));
}

function finish(good: boolean): void {
  process.exitCode = good ? 0 : 1;
}
