"""Hidden tests that an outage puts off, and those that it ends without a bit."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('loop', '0004_hidden_set_ledger'),
    ]

    operations = [
        migrations.AddField(
            model_name='verification',
            name='outages',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='verification',
            name='retry_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='verification',
            name='status',
            field=models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('waiting', 'Waiting'), ('finished', 'Finished'), ('failed', 'Failed'), ('outage', 'Outage')], default='queued', max_length=16),
        ),
        migrations.AddConstraint(
            model_name='verification',
            constraint=models.CheckConstraint(condition=models.Q(('status', 'waiting'), ('retry_at__isnull', True), _connector='XOR'), name='waiting_verification_says_until_when'),
        ),
        migrations.AddConstraint(
            model_name='verification',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'outage'), _negated=True), ('bit__isnull', True), _connector='OR'), name='outage_gives_no_bit'),
        ),
    ]
