import type { Confirmation, Inventory, Statement } from '../../shared/wire/messages.ts';
import type { Result, Running, Standing } from './rows.ts';

/**
 * What is known of a device after one more of its statements. Any order and any repetition of the same statements
 * gives the same standing: for each application the highest counter that speaks about it wins, and an inventory speaks about all.
 */
export function heard(before: Standing | undefined, statement: Statement, digest: string): Standing {
  const was = before ?? blank(statement);
  const newest = statement.counter > was.counter;
  const base = { ...was, ...(newest ? { counter: statement.counter, digest, at: statement.at } : {}) };
  return statement.type === 'inventory' ? inventoried(base, statement) : confirmed(base, statement);
}

function blank(statement: Statement): Standing {
  return {
    customer: statement.customer,
    device: statement.device,
    counter: 0,
    digest: '',
    at: statement.at,
    inventory: 0,
    agent: null,
    running: [],
    results: [],
  };
}

function inventoried(was: Standing, statement: Inventory): Standing {
  const { counter, at } = statement;
  // An older inventory says nothing that the newer one did not say better.
  if (counter <= was.inventory) return was;
  const stated = statement.applications.map(({ application, version, manifest }): Running => ({ application, version, manifest, counter, at }));
  const later = was.running.filter((row) => row.counter > counter);
  const overtaken = new Set(later.map((row) => row.application));
  return {
    ...was,
    inventory: counter,
    agent: statement.agent,
    running: [...later, ...stated.filter((row) => !overtaken.has(row.application))].sort(byApplication),
  };
}

function confirmed(was: Standing, statement: Confirmation): Standing {
  const { application, counter, at } = statement;
  const spoken = Math.max(was.inventory, was.running.find((row) => row.application === application)?.counter ?? 0);
  const running: Running = { application, version: statement.running?.version ?? null, manifest: statement.running?.manifest ?? null, counter, at };
  const reported = was.results.find((row) => row.application === application)?.counter ?? 0;
  const result: Result = {
    application,
    version: statement.version,
    manifest: statement.manifest,
    sequence: statement.sequence,
    result: statement.result,
    reason: statement.reason === undefined ? null : `${statement.reason.code}: ${statement.reason.message}`,
    counter,
    at,
  };
  return {
    ...was,
    running: counter > spoken ? replace(was.running, running) : was.running,
    results: counter > reported ? replace(was.results, result) : was.results,
  };
}

function replace<T extends { readonly application: string }>(rows: readonly T[], row: T): readonly T[] {
  return [...rows.filter((other) => other.application !== row.application), row].sort(byApplication);
}

function byApplication(a: { readonly application: string }, b: { readonly application: string }): number {
  return a.application < b.application ? -1 : a.application > b.application ? 1 : 0;
}
