import type { z } from 'zod';
import { WardcastError } from '../shared/base/errors.ts';
import { MAX_CONTROL_MESSAGE } from '../shared/base/limits.ts';

/** Reads a control message that somebody else wrote. @throws PROTOCOL_VIOLATION, LIMIT_EXCEEDED */
export function readMessage<T>(schema: z.ZodType<T>, payload: Buffer): T {
  if (payload.length > MAX_CONTROL_MESSAGE) {
    throw new WardcastError('LIMIT_EXCEEDED', `A control message has ${payload.length} bytes, at most ${MAX_CONTROL_MESSAGE} are allowed`);
  }
  try {
    return schema.parse(JSON.parse(payload.toString('utf8')));
  } catch (error) {
    throw new WardcastError('PROTOCOL_VIOLATION', 'A message is malformed', {
      cause: error,
      remedy: 'Sender and receiver are of versions that do not understand each other: update the older one.',
    });
  }
}

export function printMessage(message: unknown): Buffer {
  return Buffer.from(JSON.stringify(message));
}
