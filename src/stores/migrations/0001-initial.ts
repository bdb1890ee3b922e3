/**
 * The whole schema. Tables belong to the role that migrates; the server works as one of four roles that own nothing:
 *
 * - recollect_app: one user's rows, named by the setting app.user_id of the transaction. No setting, no rows.
 * - recollect_log: appends to the event log across runs, reads nothing but what fences it.
 * - recollect_keys: looks up API keys, and nothing else does.
 * - recollect_worker: ids, states, leases and times of runs and jobs, never content; removes events past their time unread.
 *
 * Keys of content tables begin with user_id, so the same names may be used by two users, and so that the tables can be
 * distributed by user. Text ids compare byte by byte (collation C). Numbers in `sequence` columns come from counters.
 */

import { Migration } from "@mikro-orm/migrations";

const ID = `text collate "C" not null`;

/** One statement each: the embedded database takes no more at a time. */
const STATEMENTS = [
  ...["recollect_app", "recollect_keys", "recollect_log", "recollect_worker"].flatMap(roleStatements),

  `create table recollect_users (
    user_id text collate "C" primary key check (octet_length(user_id) between 1 and 256),
    session_sequence integer not null default 0,
    memory_sequence integer not null default 0,
    created_at timestamptz not null default now()
  )`,

  `create table agno_sessions (
    session_id ${ID} check (octet_length(session_id) between 1 and 256),
    user_id ${ID} references recollect_users on delete cascade,
    agent_id text not null,
    name text,
    summary jsonb,
    state jsonb not null default '{}',
    turns integer not null default 0,
    sequence integer not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, session_id)
  )`,
  `create index agno_sessions_recent on agno_sessions (user_id, sequence)`,

  `create table recollect_runs (
    user_id ${ID},
    run_id ${ID},
    session_id ${ID},
    agent_id text not null,
    turn integer not null,
    status text not null check (status in ('QUEUED', 'RUNNING', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELLED', 'INTERRUPTED')),
    memory text not null check (memory in ('ON', 'OFF')),
    model text,
    recall jsonb,
    usage jsonb,
    error jsonb,
    memory_status text not null check (memory_status in ('PENDING', 'DONE', 'SKIPPED', 'FAILED')),
    memory_error jsonb,
    idempotency_key text collate "C",
    fingerprint text not null,
    last_sequence integer not null default 0,
    reply_begun boolean not null default false,
    cancel_requested boolean not null default false,
    lease_owner text,
    lease_until timestamptz,
    attempt integer not null default 0,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    pieces_kept boolean not null default true,
    primary key (user_id, run_id),
    foreign key (user_id, session_id) references agno_sessions on delete cascade
  )`,
  `create unique index recollect_runs_turn on recollect_runs (user_id, session_id, turn)`,
  `create unique index recollect_runs_one_running on recollect_runs (user_id, session_id) where status = 'RUNNING'`,
  `create unique index recollect_runs_idempotency on recollect_runs (user_id, idempotency_key)`,
  `create index recollect_runs_open on recollect_runs (user_id) where status in ('QUEUED', 'RUNNING', 'PAUSED')`,
  `create index recollect_runs_queued on recollect_runs (created_at) where status = 'QUEUED'`,
  `create index recollect_runs_running on recollect_runs (lease_until) where status = 'RUNNING'`,

  `create index recollect_runs_pieces on recollect_runs (finished_at) where pieces_kept and finished_at is not null`,

  `create table recollect_messages (
    user_id ${ID},
    message_id ${ID},
    session_id ${ID},
    run_id ${ID},
    role text not null check (role in ('USER', 'ASSISTANT')),
    content text not null,
    complete boolean not null,
    sequence integer not null,
    created_at timestamptz not null default now(),
    primary key (user_id, message_id),
    foreign key (user_id, run_id) references recollect_runs on delete cascade
  )`,
  `create unique index recollect_messages_sequence on recollect_messages (user_id, session_id, sequence)`,
  `create index recollect_messages_run on recollect_messages (user_id, run_id)`,

  `create table recollect_run_events (
    user_id ${ID},
    run_id ${ID},
    sequence integer not null,
    type text not null,
    data jsonb not null,
    at timestamptz not null default now(),
    primary key (user_id, run_id, sequence),
    foreign key (user_id, run_id) references recollect_runs on delete cascade
  )`,

  `create table agno_memories (
    memory_id ${ID},
    user_id ${ID} references recollect_users on delete cascade,
    memory text not null,
    topics jsonb not null default '[]',
    agent_id text,
    input text,
    kind text not null check (kind in ('IDENTITY', 'PREFERENCE', 'PLAN', 'EVENT', 'RELATION', 'SKILL', 'CONSTRAINT', 'OTHER')),
    subject text,
    slot text,
    status text not null check (status in ('ACTIVE', 'SUPERSEDED', 'QUARANTINED', 'RETIRED')),
    origin text not null check (origin in ('EXTRACTED', 'MANUAL', 'IMPORTED', 'RULE')),
    fingerprint text collate "C" not null,
    valid_from timestamptz not null default now(),
    valid_to timestamptz,
    superseded_by text collate "C",
    evidence_count integer not null default 0,
    last_confirmed_at timestamptz not null default now(),
    expires_at timestamptz,
    pinned boolean not null default false,
    feedback text check (feedback in ('GOOD', 'BAD')),
    version integer not null default 1,
    sequence integer not null,
    confirmed_sequence integer not null,
    embedding real[],
    embedding_model text,
    search tsvector generated always as (
      to_tsvector('english', memory) || jsonb_to_tsvector('english', topics, '["string"]')
    ) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (user_id, memory_id),
    foreign key (user_id, superseded_by) references agno_memories on delete set null (superseded_by)
  )`,
  `create index agno_memories_newest on agno_memories (user_id, status, sequence)`,
  `create unique index agno_memories_fingerprint on agno_memories (user_id, status, fingerprint) where status in ('ACTIVE', 'QUARANTINED')`,
  `create index agno_memories_superseded_by on agno_memories (user_id, superseded_by) where superseded_by is not null`,

  `create table recollect_memory_evidence (
    user_id ${ID},
    memory_id ${ID},
    evidence_id ${ID},
    message_id text collate "C",
    quote text not null,
    quote_start integer not null,
    quote_end integer not null,
    said_at timestamptz not null,
    primary key (user_id, memory_id, evidence_id),
    foreign key (user_id, memory_id) references agno_memories on delete cascade,
    foreign key (user_id, message_id) references recollect_messages on delete set null (message_id)
  )`,
  `create unique index recollect_memory_evidence_once on recollect_memory_evidence (user_id, memory_id, message_id)`,
  `create index recollect_memory_evidence_message on recollect_memory_evidence (user_id, message_id)`,

  `create table recollect_memory_history (
    user_id ${ID},
    sequence integer not null,
    memory_id ${ID},
    kind text not null check (kind in
      ('ADDED', 'REINFORCED', 'SUPERSEDED', 'UPDATED', 'QUARANTINED', 'DELETED', 'FORGOTTEN', 'EXPIRED', 'RESTORED')),
    before jsonb,
    after jsonb,
    quote text,
    run_id text collate "C",
    undo_id text,
    at timestamptz not null default now(),
    primary key (user_id, sequence),
    foreign key (user_id, memory_id) references agno_memories on delete cascade
  )`,
  `create index recollect_memory_history_memory on recollect_memory_history (user_id, memory_id, sequence)`,
  `create index recollect_memory_history_run on recollect_memory_history (user_id, run_id) where run_id is not null`,

  `create table recollect_jobs (
    job_id bigint generated always as identity primary key,
    user_id ${ID} references recollect_users on delete cascade,
    lane text not null,
    kind text not null,
    run_id text collate "C",
    payload jsonb not null,
    state text not null check (state in ('BLOCKED', 'READY', 'RUNNING', 'DEAD')),
    attempt integer not null default 0,
    run_at timestamptz not null default now(),
    lease_owner text,
    lease_until timestamptz,
    last_error jsonb,
    created_at timestamptz not null default now()
  )`,
  `create unique index recollect_jobs_one_running on recollect_jobs (user_id, lane) where state = 'RUNNING'`,
  `create unique index recollect_jobs_one_summary on recollect_jobs (user_id, lane) where kind = 'summarize-session' and state = 'READY'`,
  `create index recollect_jobs_ready on recollect_jobs (run_at, job_id) where state = 'READY'`,
  `create index recollect_jobs_running on recollect_jobs (lease_until) where state = 'RUNNING'`,
  `create index recollect_jobs_lane on recollect_jobs (user_id, lane, job_id)`,
  `create index recollect_jobs_run on recollect_jobs (user_id, run_id)`,

  `create table recollect_idempotency (
    user_id ${ID} references recollect_users on delete cascade,
    key ${ID},
    operation text not null,
    fingerprint text not null,
    result jsonb,
    created_at timestamptz not null default now(),
    primary key (user_id, key)
  )`,
  `create table recollect_usage (
    user_id ${ID} references recollect_users on delete cascade,
    day date not null,
    purpose text not null check (purpose in ('reply', 'memory', 'summary')),
    calls integer not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    primary key (user_id, day, purpose)
  )`,

  `create index recollect_idempotency_old on recollect_idempotency (created_at)`,

  ...[
    "recollect_users",
    "agno_sessions",
    "recollect_runs",
    "recollect_messages",
    "recollect_run_events",
    "agno_memories",
    "recollect_memory_evidence",
    "recollect_memory_history",
    "recollect_jobs",
    "recollect_idempotency",
    "recollect_usage",
  ].flatMap(userRowStatements),
  // History is only ever added to.
  `revoke update, delete on recollect_memory_history from recollect_app`,

  // Receipts of erasures name nobody: user_hash can be made again by who knows the receipt and the user's id.
  `create table recollect_erasures (
    receipt_id text collate "C" primary key,
    user_hash text not null,
    counts jsonb not null,
    erased_at timestamptz not null default now()
  )`,
  `alter table recollect_erasures enable row level security`,
  `grant insert on recollect_erasures to recollect_app`,
  `create policy receipts_add on recollect_erasures for insert to recollect_app with check (true)`,

  // Not a user's data: it says who may be a user. Users are shown nothing of it; who erases a user takes the user's keys away as well.
  `create table recollect_api_keys (
    key_id text collate "C" primary key,
    secret_hash text collate "C" not null unique,
    scope text not null check (scope in ('user', 'service', 'admin')),
    subject text collate "C" check (octet_length(subject) between 1 and 256),
    name text,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    check ((scope = 'user') = (subject is not null))
  )`,
  `alter table recollect_api_keys enable row level security`,
  `grant select (key_id, secret_hash, scope, subject, expires_at, revoked_at, last_used_at), update (last_used_at)
    on recollect_api_keys to recollect_keys`,
  `create policy keys_read on recollect_api_keys for select to recollect_keys using (true)`,
  `grant select (subject), delete on recollect_api_keys to recollect_app`,
  `create policy keys_own_read on recollect_api_keys for select to recollect_app
    using (subject = nullif(current_setting('app.user_id', true), ''))`,
  `create policy keys_own_drop on recollect_api_keys for delete to recollect_app
    using (subject = nullif(current_setting('app.user_id', true), ''))`,
  `create policy keys_note_use on recollect_api_keys for update to recollect_keys using (true) with check (true)`,

  `grant select (user_id, run_id, status, lease_owner, attempt, last_sequence, reply_begun),
    update (last_sequence, reply_begun) on recollect_runs to recollect_log`,
  `grant insert on recollect_run_events to recollect_log`,
  `create policy log_runs_read on recollect_runs for select to recollect_log using (true)`,
  `create policy log_runs_advance on recollect_runs for update to recollect_log using (true) with check (true)`,
  `create policy log_events_append on recollect_run_events for insert to recollect_log with check (true)`,

  `grant select (user_id, run_id, session_id, turn, status, lease_owner, lease_until, attempt, last_sequence, reply_begun,
    cancel_requested, created_at, finished_at, memory_status, pieces_kept), update (status, lease_owner, lease_until, attempt, pieces_kept)
    on recollect_runs to recollect_worker`,
  `create policy worker_runs_read on recollect_runs for select to recollect_worker using (true)`,
  `create policy worker_runs_lease on recollect_runs for update to recollect_worker using (true) with check (true)`,
  `grant select (user_id, run_id, type), delete on recollect_run_events to recollect_worker`,
  `create policy worker_events_read on recollect_run_events for select to recollect_worker using (true)`,
  `create policy worker_events_prune on recollect_run_events for delete to recollect_worker using (true)`,
  `grant select (job_id, user_id, lane, kind, run_id, state, attempt, run_at, lease_owner, lease_until, created_at),
    update (state, attempt, run_at, lease_owner, lease_until) on recollect_jobs to recollect_worker`,
  `create policy worker_jobs_read on recollect_jobs for select to recollect_worker using (true)`,
  `grant delete on recollect_jobs to recollect_worker`,
  `create policy worker_jobs_drop on recollect_jobs for delete to recollect_worker using (true)`,
  `grant select (user_id, key, created_at), delete on recollect_idempotency to recollect_worker`,
  `create policy worker_keys_read on recollect_idempotency for select to recollect_worker using (true)`,
  `create policy worker_keys_drop on recollect_idempotency for delete to recollect_worker using (true)`,
  `create policy worker_jobs_lease on recollect_jobs for update to recollect_worker using (true) with check (true)`,
];

export class Migration0001Initial extends Migration {
  override up(): void {
    for (const statement of STATEMENTS) {
      this.addSql(statement);
    }
  }
}

/** Roles belong to the whole cluster: another database's migration may be making them at this moment. */
function roleStatements(role: string): string[] {
  return [
    `do $$ begin
      create role ${role} nologin nosuperuser nobypassrls nocreatedb nocreaterole;
    exception when duplicate_object or unique_violation then null;
    end $$`,
    `do $$ begin
      if not pg_has_role(current_user, '${role}', 'MEMBER') then grant ${role} to current_user; end if;
    end $$`,
    `do $$ begin execute format('grant usage on schema %I to ${role}', current_schema()); end $$`,
  ];
}

function userRowStatements(table: string): string[] {
  const own = "user_id = nullif(current_setting('app.user_id', true), '')";
  return [
    `alter table ${table} enable row level security`,
    `create policy user_rows on ${table} for all to recollect_app using (${own}) with check (${own})`,
    `grant select, insert, update, delete on ${table} to recollect_app`,
  ];
}
