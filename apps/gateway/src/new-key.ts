import { BinnacleError } from '@binnacle/contracts/errors';
import { didYouMean } from '@binnacle/node-kit/nearest-name';
import { plainToInstance } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  Equals,
  IsArray,
  IsInt,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
  validateSync,
} from 'class-validator';
import { actionLengthMax, actionsMax, descriptionLengthMax } from './key-document.js';

/** A shorter key could be found by trying: keys are hashed once, not slowly (see ApiKeys). */
const valueLengthMin = 32;
const valueLengthMax = 128;

/** Of the body; in it they are spelt as here. */
const fields = ['description', 'actions', 'collections', 'value', 'expires_at'];

const actionsWanted = 'Wrong format for `actions`. It should be an array of string.';

/** Body of `POST /keys`. The messages are those of Typesense where it has one. */
export class NewKey {
  @IsOptional()
  @IsString({ message: 'Wrong format for `description`. It should be a string.' })
  @MaxLength(descriptionLengthMax, { message: `\`description\` is at most ${descriptionLengthMax} characters.` })
  description?: string;

  @IsArray({ message: actionsWanted })
  @ArrayMinSize(1, { message: actionsWanted })
  @ArrayMaxSize(actionsMax, { message: `A key has at most ${actionsMax} actions.` })
  @IsString({ each: true, message: actionsWanted })
  @MaxLength(actionLengthMax, { each: true, message: `An action is at most ${actionLengthMax} characters.` })
  @Matches(/^(\*|[\w./*-]+:[\w*]+)$/, { each: true, message: 'An action is `*` or `resource:verb`, such as `documents:*`.' })
  actions!: string[];

  /** Typesense wants it. A key of ours is for the whole cluster, so anything narrower is refused, not ignored. */
  @IsOptional()
  @Equals('*', { each: true, message: 'API keys cannot be limited to collections: `collections` must be ["*"].' })
  @IsArray({ message: 'Wrong format for `collections`. It should be an array of string.' })
  collections?: string[];

  @IsOptional()
  @Matches(/^[\x21-\x7e]*$/, { message: '`value` is made of printable ASCII characters without spaces.' })
  @Length(valueLengthMin, valueLengthMax, { message: `\`value\` is ${valueLengthMin} to ${valueLengthMax} random characters.` })
  @IsString({ message: 'Wrong format for `value`. It should be a string.' })
  value?: string;

  /** Seconds since 1970. */
  @IsOptional()
  @IsInt({ message: 'Wrong format for `expires_at`. It should be an unsigned integer.' })
  @Min(0, { message: 'Wrong format for `expires_at`. It should be an unsigned integer.' })
  @Max(8_640_000_000_000, { message: '`expires_at` is in seconds since 1970.' })
  expires_at?: number;
}

/** Reads a body. Throws BAD_REQUEST; a field that is not known is refused, since `expire_at` would make a key that never expires. */
export function parseNewKey(body: Readonly<Record<string, unknown>>): NewKey {
  const unknown = Object.keys(body).find((name) => !fields.includes(name))?.slice(0, 64);
  if (unknown !== undefined) {
    throw new BinnacleError('BAD_REQUEST', `\`${unknown}\` is not a field of an API key${didYouMean(unknown, fields) || '.'}`);
  }
  if (body['actions'] === undefined) throw new BinnacleError('BAD_REQUEST', 'Could not find a `actions` key.');
  const key = plainToInstance(NewKey, body);
  const [error] = validateSync(key);
  if (error === undefined) return key;
  const complaints = error.constraints ?? {};
  // What is of the wrong type breaks every other rule too; the type is what to tell.
  const complaint = complaints['isArray'] ?? complaints['isString'] ?? complaints['isInt'] ?? Object.values(complaints)[0];
  throw new BinnacleError('BAD_REQUEST', complaint ?? `\`${error.property}\` is not valid.`);
}
