import type { Identity } from '../../base/identity.ts';
import { MAX_MANIFEST, MAX_PAYLOAD, MAX_TARGETS_METADATA } from '../../base/limits.ts';
import { isSha256 } from '../../bundle/digest.ts';
import { OBJECT_KINDS, type ObjectKind, ObjectName } from '../../wire/messages.ts';
import { down, up } from '../../wire/topics.ts';

/** What is pulled: a signed file, a bundle or manifest, a chunk; always as part of one group's bundle. */
export interface ObjectRef {
  readonly group: string;
  readonly kind: ObjectKind;
  readonly name: string;
}

/** Bytes an object may have when its asker does not say. */
export const MAX_OBJECT: Readonly<Record<ObjectKind, number>> = { metadata: MAX_TARGETS_METADATA, target: MAX_MANIFEST, chunk: MAX_PAYLOAD };

export function refKey(ref: ObjectRef): string {
  return `${ref.group}/${ref.kind}/${ref.name}`;
}

/** In how many parts an object travels: as few as it fits into. */
export function partsOf(size: number): number {
  return Math.max(1, Math.ceil(size / MAX_PAYLOAD));
}

/** One part (from 0) of an object, uncopied. */
export function cut(bytes: Buffer, part: number): Buffer {
  return bytes.subarray(part * MAX_PAYLOAD, (part + 1) * MAX_PAYLOAD);
}

/** The topic of one part (from 0) of an object. */
export function objectTopic(to: Identity, ref: ObjectRef, part: number, parts: number): string {
  return down(to, 'object', ref.group, ref.kind, ref.name, String(part), String(parts));
}

/** Reads what follows `object/` in a topic; undefined when it is malformed. */
export function parseObjectTopic(rest: readonly string[]): { ref: ObjectRef; part: number; parts: number } | undefined {
  const [group = '', kindText, name = '', partText = '', partsText = ''] = rest;
  const kind = OBJECT_KINDS.find((known) => known === kindText);
  const part = count(partText);
  const parts = count(partsText);
  if (rest.length !== 5 || kind === undefined || !ObjectName.safeParse(name).success || !(part < parts)) return undefined;
  return { ref: { group, kind, name }, part, parts };
}

/** One part of an object that is uploaded. */
export interface UploadPart {
  readonly hash: string;
  readonly part: number;
  readonly parts: number;
}

export function uploadTopic(from: Identity, { hash, part, parts }: UploadPart): string {
  return up(from, 'object', hash, String(part), String(parts));
}

/** Reads what follows `up/object/`; undefined when it is malformed. */
export function parseUploadTopic(rest: readonly string[]): UploadPart | undefined {
  const [hash = '', partText = '', partsText = ''] = rest;
  const part = count(partText);
  const parts = count(partsText);
  return rest.length === 3 && isSha256(hash) && part < parts ? { hash, part, parts } : undefined;
}

/** NaN when it is no plain small number; no comparison with it holds. */
function count(text: string): number {
  return /^(0|[1-9][0-9]{0,5})$/.test(text) ? Number(text) : Number.NaN;
}
