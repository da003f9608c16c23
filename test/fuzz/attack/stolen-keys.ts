import fc from 'fast-check';
import { canonicalJson } from '../../../shared/bundle/canonical.ts';
import { sha256 } from '../../../shared/bundle/digest.ts';
import type { Signer } from '../../../shared/trust/keys.ts';
import type { OnlineKeys } from '../../../shared/trust/repository.ts';
import { bendJson, type JsonEdit, jsonEdits } from '../mutation.ts';

export interface Forged {
  readonly files: Map<string, Buffer>;
  readonly targets: Map<string, Buffer>;
}

/**
 * What somebody can serve who owns the provider's online keys: timestamp, snapshot, assignment and bundle bent in places and signed anew with the
 * genuine keys, hashes and lengths brought up to date, so that no check of integrity stops it before its content is looked at.
 */
export function stolenKeys(genuine: Forged, keys: OnlineKeys): fc.Arbitrary<Forged> {
  const edits = fc.record({ bundle: jsonEdits(0), assignment: jsonEdits(0), snapshot: jsonEdits(0), timestamp: jsonEdits(0) });
  return edits.map((change) => forge(genuine, keys, change));
}

interface Changes {
  readonly bundle: readonly JsonEdit[];
  readonly assignment: readonly JsonEdit[];
  readonly snapshot: readonly JsonEdit[];
  readonly timestamp: readonly JsonEdit[];
}

function forge(genuine: Forged, keys: OnlineKeys, change: Changes): Forged {
  const files = new Map(genuine.files);
  const targets = new Map(genuine.targets);
  const replace = (texts: ReadonlyMap<string, string>, name: string, edits: readonly JsonEdit[], key: Signer | undefined): Buffer => {
    const value: unknown = JSON.parse(swap(genuineText(genuine, name), texts));
    const signed: unknown = key === undefined ? value : Reflect.get(Object(value), 'signed');
    const bent = edits.reduce(bendJson, signed);
    return key === undefined ? tryCanonical(bent) : seal(bent, key);
  };
  const named = (role: string): string => [...genuine.files.keys()].find((name) => name.endsWith(`${role}.json`)) ?? '';
  const bundleHash = [...genuine.targets].find(([, bytes]) => bytes.includes('"releases"') && bytes.includes('"sequence"'))?.[0] ?? '';

  const bundle = replace(new Map(), bundleHash, change.bundle, undefined);
  targets.set(sha256(bundle), bundle);
  const swaps = new Map([
    [bundleHash, sha256(bundle)],
    [length(genuine.targets.get(bundleHash)), length(bundle)],
  ]);
  for (const [role, key, edits] of [
    ['assignment', keys.assignment, change.assignment],
    ['snapshot', keys.snapshot, change.snapshot],
    ['timestamp', keys.timestamp, change.timestamp],
  ] as const) {
    const name = named(role);
    const before = genuine.files.get(name) ?? Buffer.alloc(0);
    const after = replace(swaps, name, edits, key);
    files.set(name, after);
    swaps.clear();
    swaps.set(sha256(before), sha256(after)).set(length(before), length(after));
  }
  return { files, targets };
}

function genuineText({ files, targets }: Forged, name: string): string {
  return (files.get(name) ?? targets.get(name) ?? Buffer.from('null')).toString('utf8');
}

function swap(text: string, swaps: ReadonlyMap<string, string>): string {
  let swapped = text;
  for (const [from, to] of swaps) swapped = swapped.replaceAll(from, to);
  return swapped;
}

function length(bytes: Buffer | undefined): string {
  return `"length":${bytes?.length ?? 0},`;
}

function seal(signed: unknown, key: Signer): Buffer {
  const bytes = tryCanonical(signed);
  const signature = key.sign(bytes);
  return Buffer.from(`{"signatures":[{"keyid":"${key.keyId}","sig":"${Buffer.from(signature).toString('hex')}"}],"signed":${bytes.toString('utf8')}}`);
}

/** Where there is no canonical form, JSON's own: the thief is free to. */
function tryCanonical(value: unknown): Buffer {
  try {
    return canonicalJson(value);
  } catch {
    return Buffer.from(JSON.stringify(value) ?? 'null');
  }
}
