"""Show what keys used of endpoints, what it costs, and whether the books close."""

import sys
from contextlib import closing

from aiplat.config import command
from aiplat.jobs.serving_schema import UsageConfig
from aiplat.jobs.usage_report import FORMATS, UsageReport
from aiplat.store import files


def main(config: UsageConfig) -> None:
    """Read the records of the window, and write the report in the format that was asked for."""
    # SQLAlchemy takes a while to import: faults of the configuration are told before.
    from aiplat.serving.metering.account import Account, month_start, used_before
    from aiplat.serving.metering.books import books_place, settle

    since, until = config.window
    place = books_place(files.absolute(config.storage), config.records)
    with closing(place.open_ledger()) as ledger:
        # What ended processes left behind counts; what runs brings its own within seconds.
        settle(place.folder, ledger)
        earlier = ledger.records(month_start(since), since)
        account = Account(config.prices, used_before(earlier)).add(ledger.records(since, until))
        report = UsageReport(
            window=(since, until),
            currency=config.prices.currency,
            charges=account.charges(),
            levels=account.service_levels(config.availability),
            reconciliation=account.reconciled(
                ledger.replica_minutes(since, until), ledger.mirrored_s(since, until)
            ),
        )
    FORMATS[config.format](report.grouped(config.by), sys.stdout)


if __name__ == "__main__":
    command.run(main, "usage", UsageConfig)
