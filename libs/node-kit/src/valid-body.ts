import { BinnacleError } from '@binnacle/contracts/errors';
import { plainToInstance, type ClassConstructor } from 'class-transformer';
import { validateSync } from 'class-validator';

/** The body of a request as what a class with class-validator's rules says it is. Throws BAD_REQUEST with every rule it breaks. */
export function validBody<T extends object>(type: ClassConstructor<T>, body: unknown): T {
  const instance = plainToInstance(type, body ?? {});
  const errors = validateSync(instance, { whitelist: true, forbidNonWhitelisted: true, forbidUnknownValues: true });
  if (errors.length > 0) throw new BinnacleError('BAD_REQUEST', errors.flatMap((error) => Object.values(error.constraints ?? {})).join('; '));
  return instance;
}
