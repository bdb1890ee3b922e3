/** docs/security.md says which role may do what with which table. The database says the same, or this fails and shows the difference. */

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Database } from "../src/stores/database.ts";
import { openDatabase } from "../src/stores/open-database.ts";
import { createTestDatabase, type TestDatabase } from "./support/database.ts";

const DOCUMENT = readFileSync(new URL("../docs/security.md", import.meta.url), "utf8");
const COMMANDS = ["select", "insert", "update", "delete"];

let files: TestDatabase;
let database: Database;

beforeAll(async () => {
  files = await createTestDatabase();
  database = await openDatabase(files.options);
});

afterAll(async () => {
  await database.close();
  await files.remove();
});

interface Privilege {
  table: string;
  role: string;
  command: string;
  /** Null: all of them. */
  columns: string[] | null;
}

/** Everything that anybody but the owner may do with any of our tables. */
async function privileges(): Promise<Privilege[]> {
  const rows = await database.inspect(`
    with ours as (select oid, relname, relacl, relowner from pg_class
      where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S', 'f'))
    select c.relname::text as table, coalesce(nullif(acl.grantee, 0)::regrole::text, 'public') as role, lower(acl.privilege_type) as command, null as columns
      from ours c, aclexplode(c.relacl) acl where acl.grantee <> c.relowner
    union all
    select c.relname::text, coalesce(nullif(acl.grantee, 0)::regrole::text, 'public'), lower(acl.privilege_type), string_agg(a.attname, ' ' order by a.attname)
      from ours c join pg_attribute a on a.attrelid = c.oid, aclexplode(a.attacl) acl where acl.grantee <> c.relowner group by 1, 2, 3`);
  return rows.map(({ table, role, command, columns }) => {
    return {
      table: String(table),
      role: String(role),
      command: String(command),
      columns: columns === null ? null : String(columns).split(" "),
    };
  });
}

/** Which rows a role reaches with a command, by the policies of the table. */
async function rowRules(): Promise<Map<string, string>> {
  const policies = await database.inspect(
    "select tablename::text as table, roles::text as roles, lower(cmd) as cmd, qual, with_check from pg_policies where schemaname = current_schema()",
  );
  const rules = new Map<string, string>();
  for (const { table, roles, cmd, qual, with_check } of policies) {
    const conditions = new Set([qual, with_check].filter((condition) => condition !== null).map(String));
    const [condition = ""] = conditions;
    const own = conditions.size === 1 && /^\((\w+ = )NULLIF\(current_setting\('app\.user_id'::text, true\), ''::text\)\)$/.test(condition);
    const rule = own ? "own" : conditions.size === 1 && condition === "true" ? "all" : `where ${[...conditions].join(" and ")}`;
    for (const role of String(roles).replace(/[{}]/g, "").split(",")) {
      for (const command of cmd === "all" ? COMMANDS : [String(cmd)]) {
        rules.set(`${table} ${role} ${command}`, rule);
      }
    }
  }
  return rules;
}

/** The lines of the document, as the database would write them. */
async function linesOf(): Promise<string[]> {
  const granted = await privileges();
  const rules = await rowRules();
  const pairs = [...new Set(granted.map(({ table, role }) => `${table} ${role}`))].sort();
  return pairs.map((pair) => {
    const [table = "", role = ""] = pair.split(" ");
    const mine = granted.filter((privilege) => privilege.table === table && privilege.role === role);
    const commands = [...new Set([...COMMANDS, ...mine.map(({ command }) => command)])].flatMap((command) =>
      mine
        .filter((privilege) => privilege.command === command)
        .map(({ columns }) => (columns ? `${command} (${columns.join(", ")})` : command)),
    );
    const rows = [...new Set(mine.map(({ command }) => rules.get(`${pair} ${command}`) ?? "none"))].join(", ");
    return `| ${table} | ${role} | ${commands.join(", ")} | ${rows} |`;
  });
}

test("the document lists every grant on every table, and the rows it reaches", async () => {
  const documented = DOCUMENT.split("\n").filter((line) => /^\| \w+ \| (recollect_\w+|public) \|/.test(line));
  expect(documented).toEqual(await linesOf());
});

test("nothing is granted to everybody, and row-level security is on for every table but the list of migrations", async () => {
  expect((await privileges()).filter(({ role }) => !/^recollect_(app|keys|log|worker)$/.test(role))).toEqual([]);
  const open = await database.inspect(
    "select relname::text as name from pg_class where relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace and not relrowsecurity",
  );
  expect(open).toEqual([{ name: "recollect_migrations" }]);
});

test("the document lists every sort of unit of work", () => {
  const units = Object.getOwnPropertyNames(Database.prototype).filter((name) => /^as[A-Z]/.test(name));
  const documented = [...DOCUMENT.matchAll(/^\| `(as\w+)` \|/gm)].map(([, name]) => name);
  expect(documented.sort()).toEqual(units.sort());
});

test("the roles own nothing, cannot log in, and cannot bypass row-level security or become one another", async () => {
  const roles = await database.inspect(`
    select rolname::text as name from pg_roles r where rolname in ('recollect_app', 'recollect_keys', 'recollect_log', 'recollect_worker')
      and not (rolsuper or rolbypassrls or rolcanlogin or rolcreaterole or rolcreatedb)
      and not exists (select 1 from pg_class where relowner = r.oid)
      and not exists (select 1 from pg_auth_members where member = r.oid) order by 1`);
  expect(roles.map(({ name }) => name)).toEqual(["recollect_app", "recollect_keys", "recollect_log", "recollect_worker"]);
});

test("keys are out of reach of users' units of work, and users' rows of the role that looks up keys", async () => {
  const denied = [
    () => database.asUser("ada" as never, (transaction) => transaction.query("select key_id from recollect_api_keys")),
    () => database.asWorker((transaction) => transaction.query("select key_id from recollect_api_keys")),
    () => database.asLog((transaction) => transaction.query("select key_id from recollect_api_keys")),
    () => database.asKeys((transaction) => transaction.query("select 1 from agno_memories")),
    () => database.asKeys((transaction) => transaction.query("select 1 from recollect_users")),
    () => database.asKeys((transaction) => transaction.query("select name from recollect_api_keys")),
    () => database.asKeys((transaction) => transaction.query("update recollect_api_keys set revoked_at = null")),
    () => database.asKeys((transaction) => transaction.query("update recollect_api_keys set scope = 'admin'")),
    () => database.asKeys((transaction) => transaction.query("delete from recollect_api_keys")),
    () =>
      database.asKeys((transaction) =>
        transaction.query("insert into recollect_api_keys (key_id, secret_hash, scope) values ('k', 'h', 'admin')"),
      ),
  ];
  for (const attempt of denied) {
    await expect(attempt()).rejects.toMatchObject({ code: "42501" });
  }
});
