import { sha256 } from '../../shared/bundle/digest.ts';
import { Statement } from '../../shared/wire/messages.ts';
import type { ChangeOf } from '../registry/changes.ts';

/** What a change of type `statement` says, and the digest of its bytes. */
export interface Said {
  readonly statement: Statement;
  readonly digest: string;
}

const remembered = new WeakMap<ChangeOf<'statement'>, Said>();

/** Reads a statement off the log. Depends on nothing but the change, whether it was read before or not. */
export function said(change: ChangeOf<'statement'>): Said {
  const known = remembered.get(change);
  if (known !== undefined) return known;
  const payload = Buffer.from(change.payload, 'base64');
  return { statement: Statement.parse(JSON.parse(payload.toString('utf8'))), digest: sha256(payload) };
}

/** The recorder has just read these very bytes: they need not be parsed once more while the change is written. */
export function remember(change: ChangeOf<'statement'>, what: Said): void {
  remembered.set(change, what);
}
