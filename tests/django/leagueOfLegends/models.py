from django.db import models

from accounts.models import BaseOrder


class LeagueOfLegendsRank(models.Model):
    rank_name = models.CharField(max_length=25)


class LeagueOfLegendsDivisionOrder(models.Model):
    order = models.OneToOneField(BaseOrder, models.CASCADE, primary_key=True, related_name="division")
    reached_rank = models.ForeignKey(LeagueOfLegendsRank, models.PROTECT, null=True)
    reached_division = models.PositiveSmallIntegerField(null=True)
    reached_marks = models.PositiveSmallIntegerField(null=True)


class LeagueOfLegendsPlacementOrder(BaseOrder):
    number_of_match = models.PositiveSmallIntegerField(default=5)
