import { WardcastError } from '../../shared/base/errors.ts';
import { ALARMS, OPS_ACTIONS } from '../../shared/wire/ops.ts';
import { alarmNote } from '../enrol/alarms.ts';
import { pendingNote, pendings } from '../enrol/pending.ts';
import type { NoteWrite } from '../registry/registry.ts';
import { prefixes } from '../registry/rows.ts';
import { action, collect, type Desk, record } from './action.ts';

export const enrolToken = action(OPS_ACTIONS['enrol.token'], async (desk, params, call) => {
  const expires = new Date(desk.clock.now() + params.lifetime * 1000).toISOString();
  return { ...(await record(desk, call, { type: 'token-added', ...params, expires })), expires };
});

export const enrolTokens = action(OPS_ACTIONS['enrol.tokens'], async (desk, { customer }) => {
  const rows = await collect(desk.registry.list(prefixes.tokens()), (row) => customer === undefined || row.customer === customer);
  return rows.map(({ verifier: _, lifetime: __, ...row }) => row);
});

export const enrolRevoke = action(OPS_ACTIONS['enrol.revoke'], (desk, params, call) => record(desk, call, { type: 'token-revoked', ...params }));

export const enrolList = action(OPS_ACTIONS['enrol.list'], (desk, { customer }) => collect(pendings(desk.registry, customer)));

/** The decision is a record; the device hears it when it asks again. */
export const enrolDecide = action(OPS_ACTIONS['enrol.decide'], async (desk, { customer, device, key = '', approved }, call) => {
  const asked = await collect(pendings(desk.registry, customer), (row) => row.device === device && row.key.startsWith(key));
  // Who was rejected may be approved after all.
  const rejected = await collect(desk.registry.list(prefixes.decisions(customer, device)), (row) => approved && !row.approved && row.key.startsWith(key));
  const waiting = [...asked, ...rejected];
  const [pending, ...others] = waiting;
  if (pending === undefined) {
    throw new WardcastError('NOT_FOUND', `No request of ${customer}/${device} waits for approval`, { remedy: '`wardcast enrol list` shows which do.' });
  }
  if (others.length > 0) {
    throw new WardcastError('CONFLICT', `${waiting.length} different keys wait under the id ${customer}/${device}`, {
      remedy: 'Say which with --key: the device shows the beginning of its key.',
    });
  }
  const { site, group } = pending;
  const done = await record(desk, call, { type: 'enrolment-decided', customer, site, group, device, key: pending.key, approved });
  await desk.registry.transact(call.actor, () => ({ result: undefined, notes: [{ key: pendingNote(pending), value: undefined }] }));
  return { ...done, key: pending.key };
});

export const enrolRelease = action(OPS_ACTIONS['enrol.release'], (desk, params, call) => record(desk, call, { type: 'device-key-released', ...params }));

export const alarmDismiss = action(OPS_ACTIONS['alarm.dismiss'], async (desk, about, call) => ({ dismissed: await dismiss(desk, about, call.actor) }));

async function dismiss({ registry }: Desk, about: { customer: string; device: string }, actor: string): Promise<number> {
  const notes = ALARMS.map((type) => alarmNote({ ...about, type }));
  const raised: NoteWrite[] = [];
  for (const note of notes) if ((await registry.note(note)) !== undefined) raised.push({ key: note, value: undefined });
  if (raised.length > 0) await registry.transact(actor, () => ({ result: undefined, notes: raised }));
  return raised.length;
}
