import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='LeagueOfLegendsPlacementOrder',
            fields=[
                ('baseorder_ptr', models.OneToOneField(auto_created=True, on_delete=django.db.models.deletion.CASCADE, parent_link=True, primary_key=True, serialize=False, to='accounts.baseorder')),
                ('number_of_match', models.PositiveSmallIntegerField(default=5)),
            ],
            bases=('accounts.baseorder',),
        ),
        migrations.CreateModel(
            name='LeagueOfLegendsRank',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rank_name', models.CharField(max_length=25)),
            ],
        ),
        migrations.CreateModel(
            name='LeagueOfLegendsDivisionOrder',
            fields=[
                ('order', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='division', serialize=False, to='accounts.baseorder')),
                ('reached_division', models.PositiveSmallIntegerField(null=True)),
                ('reached_marks', models.PositiveSmallIntegerField(null=True)),
                ('reached_rank', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to='leagueOfLegends.leagueoflegendsrank')),
            ],
        ),
    ]
