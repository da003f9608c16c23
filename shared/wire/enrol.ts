import { z } from 'zod';
import { MAX_TOKEN_COUNT, MAX_TOKEN_DEVICES, MAX_TOKEN_LIFETIME } from '../base/limits.ts';
import { Id, Signed } from './messages.ts';

/** How keys come to certificates: one JSON line each way over the enrolment protocol, and the same messages between gateway and provider. */

/** TLS protocol name (ALPN) under which a door lets in who has no certificate. */
export const ENROL_PROTOCOL = 'wardcast-enrol/1';

/** The public part of an enrolment code, Crockford's base32. */
export const TokenId = z
  .string()
  .regex(/^[0-9A-HJKMNP-TV-Z]{4}$/, 'four characters of Crockford base32')
  .meta({ id: 'TokenId' });
/** sha256, in base64. */
export const Verifier = z
  .string()
  .regex(/^[A-Za-z0-9+/]{43}=$/, '32 bytes in base64')
  .meta({ id: 'Verifier' });
/** A certification request (PKCS#10, DER) in base64. */
const KeyRequest = z
  .string()
  .max(4000)
  .regex(/^[A-Za-z0-9+/]+={0,2}$/);

/** What a token is made with. The code stays with whoever made it: only its public part and a verifier travel. */
export const TokenTerms = {
  token: TokenId,
  verifier: Verifier,
  group: Id,
  count: z.int().min(1).max(MAX_TOKEN_COUNT),
  /** Seconds from the moment the provider hears of it. */
  lifetime: z.int().min(1).max(MAX_TOKEN_LIFETIME),
  /** The device ids it is for; empty: any. */
  devices: z.array(Id).max(MAX_TOKEN_DEVICES),
  /** Every device waits for approval by hand. */
  byHand: z.boolean(),
};

/** What is signed with a claim's, a daemon's or a gateway's key. */
export const SignedRequest = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('enrol-claim'), device: Id, request: KeyRequest }),
    z.strictObject({ type: z.literal('enrol-renewal'), request: KeyRequest }),
    z.strictObject({ type: z.literal('enrol-token'), ...TokenTerms }),
  ])
  .meta({ id: 'SignedRequest' });
export type SignedRequest = z.infer<typeof SignedRequest>;

export const EnrolRequest = z
  .discriminatedUnion('type', [
    /** With a code; the proof binds it to this device id and this key. */
    z.strictObject({ type: z.literal('token'), token: TokenId, device: Id, request: KeyRequest, proof: Verifier }),
    /** With a certificate: payload SignedRequest. */
    z.strictObject({ type: z.literal('signed'), signed: Signed }),
  ])
  .meta({ id: 'EnrolRequest' });
export type EnrolRequest = z.infer<typeof EnrolRequest>;

export const EnrolAnswer = z
  .discriminatedUnion('status', [
    /** DER in base64, leaf first, without the root. */
    z.strictObject({ status: z.literal('issued'), chain: z.array(z.string().max(8000)).min(1).max(4) }),
    z.strictObject({ status: z.literal('token'), expires: z.iso.datetime() }),
    /** It waits for approval by hand: ask again. */
    z.strictObject({ status: z.literal('pending') }),
    z.strictObject({ status: z.literal('refused'), code: z.string().max(64), message: z.string().max(500) }),
    /** Too many ask, or the line is down: ask again. */
    z.strictObject({ status: z.literal('busy') }),
  ])
  .meta({ id: 'EnrolAnswer' });
export type EnrolAnswer = z.infer<typeof EnrolAnswer>;

/** gateway → provider: somebody on the LAN asks. */
export const EnrolForward = z.strictObject({ id: z.uuid(), request: EnrolRequest }).meta({ id: 'EnrolForward' });
export type EnrolForward = z.infer<typeof EnrolForward>;
/** provider → gateway. */
export const EnrolReply = z.strictObject({ id: z.uuid(), answer: EnrolAnswer }).meta({ id: 'EnrolReply' });
export type EnrolReply = z.infer<typeof EnrolReply>;
