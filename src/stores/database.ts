/**
 * The database: opening, and units of work. Every statement of the server runs in one of four:
 *
 * - `asUser`: one user's rows and no other's; the database enforces it (see migrations/0001-initial.ts).
 * - `asWorker`: ids, states, leases and times of runs and jobs of all users.
 * - `asLog`: appending to the event log across runs.
 * - `asKeys`: looking up API keys.
 *
 * A unit of work is one short transaction: never held while a model answers, never opened inside another.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import type { EntityManager } from "@mikro-orm/core";
import type { MikroORM } from "@mikro-orm/sql";
import type { UserId } from "../agent/types.ts";
import type { Connection, Connections, Scope } from "./connections.ts";
import { databaseError, isUnavailable, tooSlow } from "./database-error.ts";
import { Gate } from "./gate.ts";

/** An open transaction. */
export interface Transaction {
  /** Runs one statement with bound values ($1, $2, …; JSON as text). int8 must be cast: the two drivers read it differently. */
  query<Row extends object>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Runs the last statement and commits, in one way to the database and back: what is thrown after it takes nothing back. */
  commit<Row extends object>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Reads entities within this transaction. */
  readonly em: EntityManager;
}

/** A unit of work that takes longer than this (ms) is rolled back: on the embedded database everybody waits for it. */
const LONGEST_UNIT = 10_000;

/** Ends a unit of work that has done what it should and is to leave no trace. */
class Answered extends Error {
  rows: Record<string, unknown>[] = [];
}

export class Database {
  readonly #orm: MikroORM;
  readonly #gate: Gate | null;
  readonly #connections: Connections;
  readonly #unitOpen = new AsyncLocalStorage<Unit>();
  readonly #background = new AsyncLocalStorage<true>();
  readonly embedded: boolean;
  /** Units of work begun, and statements run in them, since the start. */
  readonly counts = { units: 0, statements: 0 };

  constructor(orm: MikroORM, connections: Connections, embedded: boolean) {
    this.#orm = orm;
    this.#connections = connections;
    this.embedded = embedded;
    this.#gate = embedded ? new Gate() : null;
  }

  /** Throws SERVICE_UNAVAILABLE when the database does not answer, STORAGE_FULL when the disk is full. */
  asUser<T>(user: UserId, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#unit({ user }, work);
  }

  asWorker<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#unit({ role: "recollect_worker" }, work);
  }

  asLog<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#unit({ role: "recollect_log" }, work);
  }

  asKeys<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#unit({ role: "recollect_keys" }, work);
  }

  /** The tables' owner, for the operator on this machine: everything, of everybody. */
  asOperator<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#unit({ role: "none" }, work);
  }

  /** Answers one statement of the operator's over everybody's rows. Nothing it does lasts: it may read only, and is rolled back. */
  async inspect(sql: string): Promise<Record<string, unknown>[]> {
    const answered = new Answered();
    await this.asOperator(async (transaction) => {
      await transaction.query("set transaction read only");
      answered.rows = await transaction.query<Record<string, unknown>>(sql);
      throw answered;
    }).catch((error: unknown) => {
      if (error !== answered) {
        throw error;
      }
    });
    return answered.rows;
  }

  /** Marks what `work` asks of the embedded database as background work: it waits for whatever users wait for. */
  inBackground<T>(work: () => Promise<T>): Promise<T> {
    return this.#background.run(true, work);
  }

  /** True when the database answers. */
  async answers(): Promise<boolean> {
    return this.asLog((transaction) => transaction.commit("select 1")).then(
      () => true,
      () => false,
    );
  }

  async close(): Promise<void> {
    await this.#orm.close();
    await this.#connections.close();
  }

  async #unit<T>(scope: Scope, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    if (this.#unitOpen.getStore()?.active) {
      throw new Error("A unit of work was opened inside another. On the embedded database that would wait for itself for ever.");
    }
    const leave = await this.#gate?.enter(this.#background.getStore() === true);
    const unit: Unit = { active: true, ended: null };
    try {
      return await this.#unitOpen.run(unit, () => this.#transact(unit, scope, work));
    } catch (error) {
      throw databaseError(error);
    } finally {
      unit.active = false;
      leave?.();
    }
  }

  async #transact<T>(unit: Unit, scope: Scope, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const connection = await this.#connections.take();
    this.counts.units++;
    const overdue = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      if (unit.ended) {
        // The commit is sent and can no longer be taken back: what becomes of it is waited for as long as for any answer.
        return;
      }
      unit.active = false;
      const cause = new Error(`A unit of work took longer than ${LONGEST_UNIT / 1000} s and was rolled back.`);
      overdue.reject(tooSlow(cause));
    }, LONGEST_UNIT);
    // A connection is given back for use only after a commit or rollback that it answered.
    let broken = true;
    try {
      const begun = connection.begin(scope);
      const done = Promise.all([begun, work(this.#open(unit, connection))]);
      const [, result] = await Promise.race([done, overdue.promise]);
      await Promise.race([unit.ended ?? connection.query("commit", []), overdue.promise]);
      broken = false;
      return result;
    } catch (error) {
      // A server that is away, or still at work on an overdue statement, is not waited for again.
      const answers = this.embedded || (unit.active && !isUnavailable(error));
      unit.active = false;
      if (answers) {
        broken = !(await (unit.ended ?? connection.query("rollback", [])).then(
          () => true,
          () => false,
        ));
      }
      throw error;
    } finally {
      clearTimeout(timer);
      connection.release(broken);
    }
  }

  #open(unit: Unit, connection: Connection): Transaction {
    const send = (sql: string, values: readonly unknown[]): Promise<{ rows: unknown[]; affectedRows: number }> => {
      if (!unit.active || unit.ended) {
        throw new Error("A statement was sent after its unit of work had ended.");
      }
      this.counts.statements++;
      return connection.query(sql, values);
    };
    const orm = this.#orm;
    let em: EntityManager | null = null;
    return {
      get em() {
        em ??= entitiesOver(orm, send);
        return em;
      },
      query: async <Row extends object>(sql: string, values: readonly unknown[] = []) => (await send(sql, values)).rows as Row[],
      async commit<Row extends object>(sql: string, values: readonly unknown[] = []) {
        const answered = send(sql, values);
        // After a statement that failed, this rolls back.
        unit.ended = connection.query("commit", []);
        unit.ended.catch(() => undefined);
        return (await answered).rows as Row[];
      },
    };
  }
}

/** A unit of work under way. */
interface Unit {
  active: boolean;
  /** What its commit comes to, once sent. */
  ended: Promise<unknown> | null;
}

type Send = (sql: string, values: readonly unknown[]) => Promise<{ rows: unknown[]; affectedRows: number }>;

/** What MikroORM needs of a transaction: its statements then go over this connection, under its role. */
function entitiesOver(orm: MikroORM, send: Send): EntityManager {
  const em = orm.em.fork();
  em.setTransactionContext({
    executeQuery: async (compiled: { sql: string; parameters: readonly unknown[] }) => {
      const { rows, affectedRows } = await send(compiled.sql, compiled.parameters);
      return { rows, numAffectedRows: BigInt(affectedRows) };
    },
  });
  return em;
}
