/**
 * The database: opening, and units of work. Every statement of the server runs in one of three:
 *
 * - `asUser`: one user's rows and no other's; the database enforces it (see migrations/0001-initial.ts).
 * - `asWorker`: ids, states, leases and times of runs and jobs of all users.
 * - `asLog`: appending to the event log across runs.
 *
 * A unit of work is one short transaction: never held while a model answers, never opened inside another.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import type { EntityManager } from "@mikro-orm/core";
import type { MikroORM } from "@mikro-orm/sql";
import { CompiledQuery } from "kysely";
import type { UserId } from "../agent/types.ts";
import { databaseError } from "./database-error.ts";
import { Gate } from "./gate.ts";

/** An open transaction. */
export interface Transaction {
  /** Runs one statement with bound values ($1, $2, …; JSON as text). int8 must be cast: the two drivers read it differently. */
  query<Row extends object>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Reads entities within this transaction. */
  readonly em: EntityManager;
}

/** A unit of work that takes longer than this (ms) is rolled back: on the embedded database everybody waits for it. */
const LONGEST_UNIT = 10_000;

/** The part of MikroORM's transaction context (Kysely's) that is used here. */
interface KyselyTransaction {
  executeQuery(query: CompiledQuery): Promise<{ rows: unknown[] }>;
}

export class Database {
  readonly #orm: MikroORM;
  readonly #gate: Gate | null;
  readonly #closeConnection: () => Promise<void>;
  readonly #open = new AsyncLocalStorage<{ active: boolean }>();
  readonly #background = new AsyncLocalStorage<true>();
  readonly embedded: boolean;
  /** Units of work begun, and statements run in them, since the start. */
  readonly counts = { units: 0, statements: 0 };

  constructor(orm: MikroORM, options: { embedded: boolean; close: () => Promise<void> }) {
    this.#orm = orm;
    this.embedded = options.embedded;
    this.#gate = options.embedded ? new Gate() : null;
    this.#closeConnection = options.close;
  }

  /** Throws SERVICE_UNAVAILABLE when the database does not answer, STORAGE_FULL when the disk is full. */
  asUser<T>(user: UserId, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#unit(async (transaction) => {
      await transaction.query("select set_config('app.user_id', $1, true)", [user]);
      return work(transaction);
    });
  }

  asWorker<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#as("recollect_worker", work);
  }

  asLog<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#as("recollect_log", work);
  }

  /** The embedded database's owner, for the operator on this machine: everything, of everybody. */
  asOperator<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#as("none", work);
  }

  /** Marks what `work` asks of the embedded database as background work: it waits for whatever users wait for. */
  inBackground<T>(work: () => Promise<T>): Promise<T> {
    return this.#background.run(true, work);
  }

  /** True when the database answers. */
  async answers(): Promise<boolean> {
    return this.asLog((transaction) => transaction.query("select 1")).then(
      () => true,
      () => false,
    );
  }

  async close(): Promise<void> {
    await this.#orm.close();
    await this.#closeConnection();
  }

  #as<T>(role: string, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#unit(async (transaction) => {
      await transaction.query(`set local role ${role}`);
      return work(transaction);
    });
  }

  async #unit<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    if (this.#open.getStore()?.active) {
      throw new Error("A unit of work was opened inside another. On the embedded database that would wait for itself for ever.");
    }
    const leave = await this.#gate?.enter(this.#background.getStore() === true);
    const unit = { active: true };
    try {
      return await this.#open.run(unit, () => this.#transact(unit, work));
    } catch (error) {
      throw databaseError(error);
    } finally {
      unit.active = false;
      leave?.();
    }
  }

  async #transact<T>(unit: { active: boolean }, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const em = this.#orm.em.fork();
    await em.begin();
    this.counts.units++;
    const context = em.getTransactionContext<KyselyTransaction>();
    const overdue = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      unit.active = false;
      overdue.reject(new Error(`A unit of work took longer than ${LONGEST_UNIT / 1000} s and was rolled back.`));
    }, LONGEST_UNIT);
    const transaction: Transaction = {
      em,
      query: async <Row extends object>(sql: string, values: readonly unknown[] = []) => {
        if (!unit.active || !context) {
          throw new Error("A statement was sent after its unit of work had ended.");
        }
        this.counts.statements++;
        return (await context.executeQuery(CompiledQuery.raw(sql, [...values]))).rows as Row[];
      },
    };
    try {
      const result = await Promise.race([work(transaction), overdue.promise]);
      await em.commit();
      return result;
    } catch (error) {
      // A rollback that fails too (the connection is gone) must not hide why.
      await em.rollback().catch(() => undefined);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}
